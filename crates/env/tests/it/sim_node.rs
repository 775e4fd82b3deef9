//! The life of a simulated node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strata_env::OpenMode;
use strata_env::sim::SimWorld;

/// SIM-1
#[tokio::test(start_paused = true)]
async fn a_crash_ends_tasks_and_handles_for_ever() {
    let node = SimWorld::new(1).node(1);
    let (env, disk) = (node.env(), node.disk());
    let file = disk.open(Path::new("file"), OpenMode::CreateNew).await.unwrap();
    file.write_at(0, b"kept").await.unwrap();
    file.sync_data().await.unwrap();
    disk.sync_dir(Path::new("")).await.unwrap();
    let ticks = Arc::new(AtomicU64::new(0));
    let (counted, clock) = (ticks.clone(), env.clone());
    env.spawn("ticks", async move {
        loop {
            clock.sleep(Duration::from_secs(1)).await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert_eq!(ticks.load(Ordering::Relaxed), 5);
    node.crash();
    assert!(!node.is_up());
    node.restart();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(ticks.load(Ordering::Relaxed), 5);
    assert!(file.write_at(0, b"lost").await.is_err());
    assert!(file.read_at(0, 1).await.is_err());
    assert!(disk.list(Path::new("")).await.is_err());
    let (counted, old) = (ticks.clone(), env.clone());
    env.spawn("late", async move {
        counted.fetch_add(100, Ordering::Relaxed);
    });
    assert_eq!(old.blocking(|| 1).await, None);
    env.halt("said by the dead");
    assert!(node.halted().is_none());
    assert_eq!(ticks.load(Ordering::Relaxed), 5);
    assert_eq!(&node.disk().read(Path::new("file")).await.unwrap()[..], b"kept");
    assert_eq!(node.env().blocking(|| 1).await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_kill_loses_nothing_that_was_written() {
    let node = SimWorld::new(1).node(1);
    let file = node.disk().open(Path::new("file"), OpenMode::CreateNew).await.unwrap();
    file.write_at(0, &[9; 5000]).await.unwrap();
    node.kill();
    node.restart();
    assert_eq!(&node.disk().read(Path::new("file")).await.unwrap()[..], [9; 5000]);
}

#[tokio::test(start_paused = true)]
async fn a_halt_or_a_panic_stops_the_node_and_is_recorded() {
    let node = SimWorld::new(2).node(1);
    let env = node.env();
    let inner = env.clone();
    env.spawn("lane", async move {
        inner.halt("sync failed");
        inner.halt("and again");
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.halted().unwrap().reason, "sync failed");
    assert!(!node.is_up());
    node.restart();
    assert!(node.halted().is_none());
    node.env().spawn("broken", async { std::panic::resume_unwind(Box::new("index out of order")) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node.halted().unwrap().reason, "a task panicked: task=`broken` message=`index out of order`");
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_stops() {
    let node = SimWorld::new(2).node(1);
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let task = node.env().dedicated("pending", async move {
        std::future::pending::<()>().await;
        drop(sender);
    });
    tokio::task::yield_now().await;
    task.abort();
    assert!(receiver.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn clocks_drift_and_start_anew() {
    let world = SimWorld::new(3);
    let (exact, fast) = (world.node(1), world.node(2));
    fast.set_clock_drift(100_000);
    fast.set_clock_offset(-60_000);
    let (exact_start, fast_start) = (exact.env().now(), fast.env().now());
    assert_eq!(exact.env().clock.unix_millis() - fast.env().clock.unix_millis(), 60_000);
    let before = world.elapsed();
    fast.env().sleep(Duration::from_secs(11)).await;
    assert_eq!(world.elapsed() - before, Duration::from_secs(10));
    assert_eq!(exact.env().now().since(exact_start), Duration::from_secs(10));
    assert_eq!(fast.env().now().since(fast_start), Duration::from_secs(11));
    assert_eq!(exact.env().clock.unix_millis() - fast.env().clock.unix_millis(), 59_000);
    let before = exact.env().now();
    exact.crash();
    exact.restart();
    assert_ne!(exact.env().now(), before, "a monotonic clock means nothing after a restart");
}

/// SIM-3
#[tokio::test(start_paused = true)]
async fn equal_seeds_give_equal_worlds() {
    let mut traces = Vec::new();
    for seed in [11, 11, 12] {
        let world = SimWorld::new(seed);
        let mut trace = Vec::new();
        for number in 1..4 {
            let node = world.node(number);
            node.set_latency(Duration::ZERO..=Duration::from_millis(20));
            let disk = node.disk();
            let file = disk.open(Path::new("file"), OpenMode::CreateNew).await.unwrap();
            disk.sync_dir(Path::new("")).await.unwrap();
            file.write_at(0, &[1; 20_000]).await.unwrap();
            let random = node.env().random_below(u64::MAX);
            node.crash();
            node.restart();
            let content = node.disk().read(Path::new("file")).await.unwrap();
            trace.push((random, content, world.elapsed(), node.env().now(), node.operations()));
        }
        trace.push((world.rng(7).below(1_000), Default::default(), world.elapsed(), Default::default(), 0));
        traces.push(trace);
    }
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}

#[tokio::test(start_paused = true)]
async fn some_tasks_of_a_sluggish_machine_get_their_turns_late_and_all_get_them() {
    let node = SimWorld::new(1).node(1);
    let (begun, done) = (tokio::time::Instant::now(), Arc::new(AtomicU64::new(0)));
    let start = |count: u64| {
        for _ in 0..count {
            let done = done.clone();
            node.env().spawn("turn", async move {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    };
    node.set_sluggish(Some(7));
    start(200);
    tokio::time::sleep(Duration::from_micros(1)).await;
    let prompt = done.load(Ordering::Relaxed);
    assert!((150..200).contains(&prompt), "{prompt} of 200");
    node.set_sluggish(None);
    start(200);
    tokio::time::sleep(Duration::from_micros(1)).await;
    assert_eq!(done.load(Ordering::Relaxed), prompt + 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(done.load(Ordering::Relaxed), 400, "after {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_held_up_go_on_when_they_are_released_and_others_all_the_time() {
    let node = SimWorld::new(1).node(1);
    let turns = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    for (index, name) in ["held", "other"].into_iter().enumerate() {
        let (env, turns) = (node.env(), turns.clone());
        node.env().spawn(name, async move {
            loop {
                turns[index].fetch_add(1, Ordering::Relaxed);
                env.sleep(Duration::from_millis(10)).await;
            }
        });
    }
    let made = || [0, 1].map(|index: usize| turns[index].swap(0, Ordering::Relaxed));
    tokio::time::sleep(Duration::from_millis(95)).await;
    assert_eq!(made(), [10, 10]);
    node.hold_up(Some("held"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(made(), [0, 10]);
    node.hold_up(None);
    tokio::time::sleep(Duration::from_millis(99)).await;
    assert_eq!(made(), [10, 10]);
}
