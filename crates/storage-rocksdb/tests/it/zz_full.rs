
use bytes::Bytes;
use strata_storage::{Tablets, WriteBatch};
use strata_storage_rocksdb::{RocksOptions, RocksTablets};
use strata_types::ReplicaId;
#[test]
fn zz_full() {
    let root = std::path::Path::new("/tmp/q-full");
    let ballast = root.join("ballast");
    fs_write(&ballast, 74 << 20);
    let tablets = RocksTablets::new(root.join("shards"), RocksOptions { memory_bytes: 64 << 20, ..RocksOptions::default() }).unwrap();
    let tablet = tablets.open(ReplicaId(1)).unwrap();
    let other = tablets.open(ReplicaId(2)).unwrap();
    let mut state = 1u64;
    let t0 = std::time::Instant::now();
    let mut put = |n: u64| {
        let mut b = WriteBatch::new();
        let v: Vec<u8> = (0..65536).map(|_| { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state as u8 }).collect();
        b.put(Bytes::from(format!("k{n:08}")), v.into());
        tablet.write(b)
    };
    for n in 0..160 { put(n).unwrap(); }
    eprintln!("flush {:?}", tablet.flush());
    eprintln!("unflushed {}", tablet.unflushed_bytes());
    eprintln!("write {:?}", put(160));
    eprintln!("get {:?}", tablet.get(b"k00000001").map(|v| v.map(|v| v.len())));
    eprintln!("persisted {:?}", tablet.get_persisted(b"k00000001").map(|v| v.map(|v| v.len())));
    eprintln!("other write {:?}", { let mut b = WriteBatch::new(); b.put(Bytes::from_static(b"a"), Bytes::from_static(b"b")); other.write(b) });
    eprintln!("other flush {:?}", other.flush());
    std::fs::remove_file(&ballast).unwrap();
    let t = std::time::Instant::now();
    loop {
        let f = tablet.flush();
        if f.is_ok() || t.elapsed().as_secs() > 40 { eprintln!("flush recovered after {:?}: {:?}", t.elapsed(), f); break; }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    eprintln!("write {:?} {:?}", put(161), t0.elapsed());
    eprintln!("persisted {:?}", tablet.get_persisted(b"k00000001").map(|v| v.map(|v| v.len())));
    eprintln!("flush {:?}", tablet.flush());
    eprintln!("checkpoint {:?}", tablet.checkpoint().map(|c| c.files().map(|f| f.len())));
}
fn fs_write(path: &std::path::Path, n: usize) { std::fs::write(path, vec![7u8; n]).unwrap(); }
