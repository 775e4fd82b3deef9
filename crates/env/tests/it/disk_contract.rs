//! What every disk does.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use strata_env::sim::SimWorld;
use strata_env::{Disk, OpenMode, real};

async fn check(disk: Arc<dyn Disk>) {
    let path = Path::new("log/a");
    assert_eq!(disk.open(path, OpenMode::CreateNew).await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(disk.list(Path::new("log")).await.unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_dir_all(Path::new("log/deep")).await.unwrap();
    disk.create_dir_all(Path::new("log/deep")).await.unwrap();
    assert_eq!(disk.open(path, OpenMode::Write).await.err().unwrap().kind(), ErrorKind::NotFound);

    let file = disk.open(path, OpenMode::CreateNew).await.unwrap();
    assert_eq!(disk.open(path, OpenMode::CreateNew).await.err().unwrap().kind(), ErrorKind::AlreadyExists);
    file.write_at(1_000, b"tail").await.unwrap();
    file.write_at(510, b"over the border of a sector").await.unwrap();
    file.sync_data().await.unwrap();
    assert_eq!(file.length().await.unwrap(), 1_004);
    assert_eq!(&file.read_at(510, 8).await.unwrap()[..], b"over the");
    assert_eq!(&file.read_at(1_000, 100).await.unwrap()[..], b"tail");
    assert!(file.read_at(0, 510).await.unwrap().iter().all(|byte| *byte == 0));
    assert!(file.read_at(2_000, 10).await.unwrap().is_empty());
    assert_eq!(disk.read(path).await.unwrap().len(), 1_004);
    let reader = disk.open(path, OpenMode::Read).await.unwrap();
    assert!(reader.write_at(0, b"x").await.is_err());

    disk.rename(path, Path::new("log/b")).await.unwrap();
    disk.sync_dir(Path::new("log")).await.unwrap();
    assert_eq!(disk.list(Path::new("log")).await.unwrap(), ["b", "deep"]);
    assert!(!disk.exists(path).await.unwrap());
    assert!(disk.exists(Path::new("log/deep")).await.unwrap());
    disk.remove_file(Path::new("log/b")).await.unwrap();
    assert_eq!(disk.remove_file(Path::new("log/b")).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.rename(path, Path::new("log/b")).await.unwrap_err().kind(), ErrorKind::NotFound);

    for content in [&b"first, and longer"[..], b"second"] {
        disk.replace(Path::new("identity"), content).await.unwrap();
        assert_eq!(&disk.read(Path::new("identity")).await.unwrap()[..], content);
    }
    assert_eq!(disk.list(Path::new("")).await.unwrap(), ["identity", "log"]);
}

#[tokio::test]
async fn the_real_disk_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    check(real::RealDisk::new(directory.path().to_path_buf())).await;
}

#[tokio::test(start_paused = true)]
async fn the_simulated_disk_keeps_the_contract() {
    check(SimWorld::new(1).node(1).disk()).await;
}
