//! Runs the scripts: each command shows its reads, its writes and its reply, also one that cannot be carried out
//! (MACHINE-2).
//! `UPDATE_GOLDENFILES=1 cargo test -p strata-shard` writes the outputs anew, to be read before they are committed.

use crate::runner::ShardRunner;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/", stringify!($name));
                goldenscript::run(&mut ShardRunner::default(), path).unwrap();
            }
        )*

        #[test]
        fn every_script_is_run() {
            let mut found: Vec<_> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts"))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            let mut run = vec![$(stringify!($name)),*];
            run.sort();
            assert_eq!(found, run);
        }
    };
}

scripts! {
    anomaly_causal_reverse, anomaly_dirty_read, anomaly_dirty_write, anomaly_fuzzy_read, anomaly_lost_update,
    anomaly_phantom, anomaly_read_skew, anomaly_released_lock, anomaly_write_skew, batch, blocked, collect, commit,
    compare_and_set, delete, horizon, key_spaces, prepare, prepare_late, put, record, resolve, scan, session_commands,
    session_eviction, session_floor, session_forgotten, session_lag, session_results, session_retry,
    session_value_too_large, versions, versions_scan,
}
