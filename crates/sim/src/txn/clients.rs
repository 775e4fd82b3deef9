//! The machines of clients that use transactions. They die at any moment, with everything that they were about to do: the
//! coordinator of their transactions runs there.

use std::sync::Arc;
use std::time::Duration;

use strata_env::sim::SimWorld;
use strata_router::{Router, RouterOptions};
use strata_types::{Error, ShardMap};
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinHandle;

use super::book::Book;
use super::desk::Desk;
use super::judge::judge;
use super::leftovers::leftover;
use super::story::Story;
use crate::client::Record;
use crate::cluster::Cluster;
use crate::dice::Dice;
use crate::fabric::{Host, SimTransport};
use crate::link::ClientLink;
use crate::overdue::{WORK_MAX, in_time};
use crate::trace::trace;

/// Machines of a run.
const CLIENTS: usize = 4;
/// Number of the first of these machines, far from all others.
const FIRST_HOST: Host = 200;
/// The one that only reads, where there is one.
const WATCHER: Host = FIRST_HOST + CLIENTS;
/// How long clients wait for one step, in milliseconds. Who is impatient often does not know what became of a commit.
const DEADLINES: [u64; 4] = [150, 600, 3_000, 3_000];
/// How long those wait without whom nothing can be judged.
const PATIENT: Duration = Duration::from_secs(10);
/// When nobody works any more, nothing is open after this time.
const TIDY_MAX: Duration = Duration::from_secs(60);
/// Between two attempts to have what the stories begin with.
const OPENING_PAUSE: Duration = Duration::from_millis(100);
/// In the end all that there was is asked for within this time.
const LOOK_MAX: Duration = Duration::from_secs(300);
/// Of so many committed transactions it is asked once more whether they are, and of all others.
const OUTCOMES: usize = 40;

/// The clients of a run that use transactions.
pub(crate) struct Transactors {
    world: SimWorld,
    cluster: Arc<Cluster>,
    record: Arc<Record>,
    pub(crate) book: Arc<Book>,
    stories: Vec<Story>,
    seed: u64,
    map: Arc<ShardMap>,
    /// Whether there is what the stories begin with.
    opened: OnceCell<()>,
}

/// One life of a client's machine.
struct Life {
    desk: Desk,
    env: strata_env::Env,
    transport: Arc<SimTransport>,
    /// Keeps its end of the network.
    _link: Arc<ClientLink>,
}

impl Transactors {
    pub(crate) fn new(
        seed: u64,
        world: &SimWorld,
        cluster: &Arc<Cluster>,
        record: &Arc<Record>,
        map: Arc<ShardMap>,
    ) -> Arc<Transactors> {
        let (world, cluster, record) = (world.clone(), cluster.clone(), record.clone());
        let (book, stories) = (Book::new(cluster.trace.clone(), &cluster), cluster.shape.stories.clone());
        Arc::new(Transactors { world, cluster, record, book, stories, seed, map, opened: OnceCell::new() })
    }

    fn begin_life(&self, host: Host, life: u64, deadline: Duration) -> Life {
        let machine = self.world.node(host as u64);
        self.cluster.look_at_client(&machine);
        machine.restart();
        let env = machine.env();
        let transport = SimTransport::new(self.cluster.fabric.clone(), host);
        let link = ClientLink::new(env.clone(), &self.cluster, transport.clone(), host, self.map.cluster);
        let router = Router::new(env.clone(), link.clone(), self.map.clone(), RouterOptions::default());
        let dice = Dice::new(self.seed, &format!("transactions {host} {life}"));
        let desk = Desk::new((&self.book, &self.record), &router, dice, deadline, &self.stories);
        Life { desk, env, transport, _link: link }
    }

    /// What there must be before faults begin, if the cluster has transactions from the beginning.
    pub(crate) async fn prepare(&self) {
        if let Err(error) = self.opened.get_or_try_init(|| self.open_once()).await {
            self.book.report(format!("SIM-LIVE-4 a fresh cluster has transactions: {error}"));
        }
    }

    async fn open_once(&self) -> Result<(), Error> {
        let mut life = self.begin_life(FIRST_HOST, 0, PATIENT);
        let mut done = Ok(());
        for story in self.stories.clone() {
            let prepared = in_time(WORK_MAX, Box::pin(life.desk.prepare(story)), |text| self.book.report(text)).await;
            done = done.and(prepared.unwrap_or(Ok(())));
        }
        life.transport.unplug();
        done
    }

    /// The same, again and again: an old cluster refuses all transactions until it is upgraded.
    async fn open(&self) {
        let once = || async {
            while self.open_once().await.is_err() {
                tokio::time::sleep(OPENING_PAUSE).await;
            }
        };
        self.opened.get_or_init(once).await;
    }

    /// The clients work until told to stop.
    pub(crate) fn start(self: &Arc<Self>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
        let has_watcher = Dice::new(self.seed, "watcher").chance(500);
        let count = if self.stories.is_empty() { 0 } else { CLIENTS + usize::from(has_watcher) };
        (0..count).map(|number| tokio::spawn(self.clone().keep(FIRST_HOST + number, stop.clone()))).collect()
    }

    /// One machine: it works, dies, and works again.
    async fn keep(self: Arc<Self>, host: Host, stop: watch::Receiver<bool>) {
        let mut dice = Dice::new(self.seed, &format!("life {host}"));
        let mut stopped = stop.clone();
        tokio::select! {
            biased;
            _ = stopped.wait_for(|is_over| *is_over) => return,
            () = self.open() => {}
        }
        for number in 1.. {
            let deadline = Duration::from_millis(*dice.pick(&DEADLINES));
            let Life { desk, env, transport, _link } = self.begin_life(host, number, deadline);
            let (done, ended) = tokio::sync::oneshot::channel();
            let stopped = stop.clone();
            env.spawn("sim-transactions", async move {
                match host == WATCHER {
                    true => desk.watch(stopped).await,
                    false => desk.work(stopped).await,
                }
                let _ = done.send(());
            });
            tokio::select! {
                biased;
                // It was told to; or its machine has stopped itself, which is seen there.
                _ = ended => return,
                () = self.moment_of_death(&mut dice) => {}
            }
            trace!(self.cluster.trace, "client-{host} dies");
            transport.unplug();
            self.world.node(host as u64).kill();
            let down = Duration::from_millis(dice.between(10, 1_500));
            tokio::time::sleep(down).await;
            if *stop.borrow() {
                return;
            }
        }
    }

    /// At any time; mostly while some transaction is being committed.
    async fn moment_of_death(&self, dice: &mut Dice) {
        tokio::time::sleep(Duration::from_millis(dice.between(500, 12_000))).await;
        if dice.chance(700) {
            self.book.committing().await;
            tokio::time::sleep(Duration::from_micros(dice.between(0, 3_000))).await;
        }
    }

    /// After everything has healed: what became of all transactions, and whether it all fits together.
    pub(crate) async fn settle(&self) {
        if self.stories.is_empty() {
            return;
        }
        // If the cluster was upgraded only now, none of them has begun.
        let opened = self.opened.get_or_try_init(|| self.open_once()).await;
        let until = tokio::time::Instant::now() + TIDY_MAX;
        while let Some(open) = leftover(&self.cluster) {
            if tokio::time::Instant::now() >= until {
                self.book.report(format!("SIM-TXN-4 nothing is left of transactions that ended: {open}"));
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut life = self.begin_life(FIRST_HOST, u64::MAX, PATIENT);
        let looking = Box::pin(self.look_at_all(&mut life.desk));
        let looked = in_time(LOOK_MAX, looking, |text| self.book.report(text)).await;
        for error in [opened.err(), looked.and_then(Result::err)].into_iter().flatten() {
            self.book.report(format!("SIM-LIVE-5 a healed cluster has transactions: {error}"));
        }
        life.transport.unplug();
    }

    /// Asks what became of everything, and reads what is there in the end.
    async fn look_at_all(&self, desk: &mut Desk) -> Result<(), Error> {
        let (unsure, committed) = self.book.commits();
        let step = committed.len() / OUTCOMES + 1;
        for entry in unsure.into_iter().chain(committed.into_iter().step_by(step)) {
            if desk.find_out(entry).await? {
                self.book.report(format!("SIM-LIVE-5 a healed cluster has transactions: t{entry} is still under way"));
            }
        }
        desk.read_all().await?;
        desk.final_counts().await?;
        if self.stories.contains(&Story::Bank) {
            desk.total().await?;
        }
        if self.stories.contains(&Story::Doctors) {
            desk.inspect().await?;
        }
        Ok(())
    }

    /// Judges all of it.
    pub(crate) fn judge(&self) {
        judge(&self.book);
    }
}
