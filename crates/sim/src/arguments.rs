//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use strata_sim::Stories;
use strata_types::ClusterVersion;

const USAGE: &str = "\
usage: strata-sim [--seed N] [--seconds S] [--runs R] [--wall W] [--hours H] [--nodes N] [--stories S] [--version V]
                  [--full-disks YES] [--trace] [--mutant NAME] [--log FILTER] [--ledger FILE --commit ID]

  --seed N      first seed (default 1)
  --seconds S   simulated seconds under faults a run (default 60)
  --runs R      number of seeds (default 1)
  --wall W      go on with further seeds for W seconds of real time
  --hours H     go on with further seeds until H hours were simulated
  --nodes N     number of founding nodes, 3 to 5 (default: from the seed)
  --stories S   what clients with transactions do, such as bank,lists; none; --stories list names them
                (default: from the seed)
  --version V   newest cluster version that programs know at first, from 1 on (default: from the seed)
  --full-disks YES
                yes or no: whether disks fill up (default: from the seed)
  --trace       print every event of every run
  --mutant NAME switch on a seeded bug, which must be found (debug builds); --mutant list names them
  --log FILTER  what nodes log goes to stderr, such as strata_kv=debug
  --ledger FILE append a line about all runs to this file
  --commit ID   what the line calls the code

example: strata-sim --seed 7 --trace";

/// What to do.
pub(crate) struct Arguments {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) runs: u64,
    pub(crate) wall: Option<Duration>,
    pub(crate) simulated: Option<Duration>,
    pub(crate) nodes: Option<usize>,
    pub(crate) stories: Option<Stories>,
    pub(crate) version: Option<ClusterVersion>,
    pub(crate) full_disks: Option<bool>,
    pub(crate) trace: bool,
    pub(crate) mutant: Option<String>,
    pub(crate) log: Option<String>,
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) commit: String,
}

impl Arguments {
    /// Those of this process.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut parsed = Arguments {
            seed: 1,
            seconds: 60,
            runs: 1,
            wall: None,
            simulated: None,
            nodes: None,
            stories: None,
            version: None,
            full_disks: None,
            trace: false,
            mutant: None,
            log: None,
            ledger: None,
            commit: "unknown".to_owned(),
        };
        while let Some(name) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{name} needs a value"));
            match name.as_str() {
                "--seed" => parsed.seed = number(&name, &value()?)?,
                "--seconds" => parsed.seconds = number(&name, &value()?)?,
                "--runs" => parsed.runs = number(&name, &value()?)?,
                "--wall" => parsed.wall = Some(Duration::from_secs(number(&name, &value()?)?)),
                "--hours" => parsed.simulated = Some(Duration::from_secs(number(&name, &value()?)? * 3_600)),
                "--nodes" => parsed.nodes = Some(number(&name, &value()?)?.clamp(3, 5) as usize),
                "--stories" => parsed.stories = Some(value()?.parse()?),
                "--version" => parsed.version = Some(version(&value()?)?),
                "--full-disks" => parsed.full_disks = Some(yes_or_no(&name, &value()?)?),
                "--trace" => parsed.trace = true,
                "--mutant" => parsed.mutant = Some(value()?),
                "--log" => parsed.log = Some(value()?),
                "--ledger" => parsed.ledger = Some(value()?.into()),
                "--commit" => parsed.commit = value()?,
                "--help" | "-h" => return Err(USAGE.to_owned()),
                _ => return Err(format!("unknown argument `{name}`\n\n{USAGE}")),
            }
        }
        Ok(parsed)
    }
}

fn version(value: &str) -> Result<ClusterVersion, String> {
    let known = ClusterVersion::FIRST.0..=ClusterVersion::NEWEST.0;
    let found = value.parse().ok().filter(|version| known.contains(version));
    found.map(ClusterVersion).ok_or_else(|| format!("--version needs a number from {known:?}, not `{value}`"))
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{name} needs `yes` or `no`, not `{value}`")),
    }
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not `{value}`"))
}
