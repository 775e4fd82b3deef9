//! What a crash keeps, and the other faults of the simulated disk.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use strata_env::sim::{SimNode, SimWorld};
use strata_env::{File, OpenMode};

const PATH: &str = "file";

async fn create(node: &SimNode) -> Box<dyn File> {
    let file = node.disk().open(Path::new(PATH), OpenMode::CreateNew).await.unwrap();
    node.disk().sync_dir(Path::new("")).await.unwrap();
    file
}

async fn content(node: &SimNode) -> Bytes {
    node.disk().read(Path::new(PATH)).await.unwrap()
}

/// ENV-2, SIM-2
#[tokio::test(start_paused = true)]
async fn synced_bytes_survive_and_others_survive_by_sector() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let node = SimWorld::new(seed).node(1);
        let file = create(&node).await;
        file.write_at(0, &[1; 4096]).await.unwrap();
        file.sync_data().await.unwrap();
        file.write_at(1024, &[2; 2048]).await.unwrap();
        assert_eq!(file.read_at(1024, 1).await.unwrap()[0], 2, "a write is readable at once");
        node.crash();
        node.restart();
        let content = content(&node).await;
        assert_eq!(content.len(), 4096);
        assert!(content[..1024].iter().chain(&content[3072..]).all(|byte| *byte == 1));
        let new = content[1024..3072].chunks(512).filter(|sector| {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is written whole or not at all");
            sector[0] == 2
        });
        match new.count() {
            0 => lost += 1,
            4 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(kept > 20 && lost > 20 && torn > 20, "kept {kept}, lost {lost}, torn {torn}");
}

#[tokio::test(start_paused = true)]
async fn a_write_during_a_sync_is_not_made_durable_by_it() {
    let mut lost = 0;
    for seed in 0..50 {
        let node = SimWorld::new(seed).node(1);
        let file = create(&node).await;
        file.write_at(0, b"early").await.unwrap();
        node.set_latency(Duration::from_millis(5)..=Duration::from_millis(5));
        let (synced, ()) = tokio::join!(file.sync_data(), async {
            tokio::time::sleep(Duration::from_millis(2)).await;
            file.write_at(0, b"later").await.unwrap();
        });
        synced.unwrap();
        node.crash();
        node.restart();
        match &content(&node).await[..] {
            b"early" => lost += 1,
            b"later" => {}
            other => panic!("a synced sector was lost: {other:?}"),
        }
    }
    assert!(lost > 10, "{lost}");
}

/// SIM-2
#[tokio::test(start_paused = true)]
async fn names_are_durable_after_the_directory_was_synced() {
    let (mut created, mut renamed, mut removed) = (0, 0, 0);
    for seed in 0..100 {
        let node = SimWorld::new(seed).node(1);
        let disk = node.disk();
        disk.create_dir_all(Path::new("kept")).await.unwrap();
        disk.open(Path::new("kept/old"), OpenMode::CreateNew).await.unwrap();
        disk.open(Path::new("kept/gone"), OpenMode::CreateNew).await.unwrap();
        disk.sync_dir(Path::new("kept")).await.unwrap();
        disk.sync_dir(Path::new("")).await.unwrap();
        disk.create_dir_all(Path::new("lost")).await.unwrap();
        disk.open(Path::new("lost/file"), OpenMode::CreateNew).await.unwrap();
        disk.sync_dir(Path::new("lost")).await.unwrap();
        disk.rename(Path::new("kept/old"), Path::new("kept/new")).await.unwrap();
        disk.remove_file(Path::new("kept/gone")).await.unwrap();
        node.crash();
        node.restart();
        let names = node.disk().list(Path::new("kept")).await.unwrap();
        let has = |name: &str| names.iter().any(|found| found == name);
        assert!(has("old") != has("new"), "a rename is atomic: {names:?}");
        renamed += u32::from(has("new"));
        removed += u32::from(!has("gone"));
        let exists = node.disk().exists(Path::new("lost/file")).await.unwrap();
        assert_eq!(exists, node.disk().exists(Path::new("lost")).await.unwrap());
        created += u32::from(exists);
    }
    for count in [created, renamed, removed] {
        assert!((20..80).contains(&count), "created {created}, renamed {renamed}, removed {removed}");
    }
}

#[tokio::test(start_paused = true)]
async fn replace_leaves_the_old_or_the_new_content_at_every_crash_point() {
    for seed in 0..20 {
        for operation in 1.. {
            let node = SimWorld::new(seed).node(1);
            node.disk().replace(Path::new(PATH), b"old").await.unwrap();
            node.crash_at_operation(Some(node.operations() + operation));
            let replaced = node.disk().replace(Path::new(PATH), b"the new one").await;
            let crashed = !node.is_up();
            assert_eq!(replaced.is_err(), crashed);
            node.crash();
            node.restart();
            match &content(&node).await[..] {
                b"old" => assert!(crashed, "a replacement that returned is durable"),
                b"the new one" => {}
                other => panic!("{other:?}"),
            }
            if !crashed {
                assert_eq!(operation, 6);
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_drops_data_and_the_file_stays_failed() {
    let node = SimWorld::new(3).node(1);
    let file = create(&node).await;
    file.write_at(0, b"durable").await.unwrap();
    file.sync_data().await.unwrap();
    file.write_at(512, &[7; 4096]).await.unwrap();
    node.fail_next_sync();
    assert!(file.sync_data().await.is_err());
    assert!(file.sync_data().await.is_err(), "a second sync does not pretend");
    assert!(file.write_at(0, b"x").await.is_err());
    assert_eq!(&file.read_at(0, 7).await.unwrap()[..], b"durable");
    node.kill();
    node.restart();
    let file = node.disk().open(Path::new(PATH), OpenMode::Write).await.unwrap();
    file.sync_data().await.unwrap();
    assert_eq!(&file.read_at(0, 7).await.unwrap()[..], b"durable");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_growth_only() {
    let node = SimWorld::new(4).node(1);
    let file = create(&node).await;
    file.write_at(0, &[1; 1000]).await.unwrap();
    node.set_capacity(Some(1000));
    assert_eq!(file.write_at(999, &[2; 2]).await.unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_at(0, &[2; 1000]).await.unwrap();
    assert!(node.disk().open(Path::new("more"), OpenMode::CreateNew).await.is_err());
    node.set_capacity(None);
    file.write_at(999, &[2; 2]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_is_read_back() {
    let node = SimWorld::new(5).node(1);
    let file = create(&node).await;
    file.write_at(0, &[0; 600]).await.unwrap();
    node.flip_bit(PATH, 3).unwrap();
    file.sync_data().await.unwrap();
    node.flip_bit(PATH, 599).unwrap();
    let content = content(&node).await;
    assert_eq!((content[3], content[599], content[4]), (1, 1, 0));
    assert!(node.flip_bit(PATH, 600).is_err());
}

#[tokio::test(start_paused = true)]
async fn stuck_operations_wait_until_released_or_crashed() {
    let node = SimWorld::new(6).node(1);
    let file = create(&node).await;
    let waits = |file: Box<dyn File>| tokio::spawn(async move { file.write_at(0, b"x").await.map_err(|e| e.kind()) });
    node.set_stuck(true);
    let write = waits(file);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!write.is_finished());
    node.set_stuck(false);
    assert_eq!(write.await.unwrap(), Ok(()));
    node.set_stuck(true);
    node.set_stuck(false);
    let file = node.disk().open(Path::new(PATH), OpenMode::Write).await.unwrap();
    node.set_stuck(true);
    let write = waits(file);
    tokio::time::sleep(Duration::from_secs(60)).await;
    node.crash();
    assert_eq!(write.await.unwrap(), Err(ErrorKind::NotConnected));
}
