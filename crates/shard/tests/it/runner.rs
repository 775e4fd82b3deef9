//! What scripts can say: commands of the log, reads, and looks at the rows.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::{Argument, ArgumentConsumer};
use strata_codec::{Command, CommandBody, CommandHeader, encode_collect, encode_command};
use strata_machine::{CommandContext, Machine};
use strata_shard::{ShardMachine, UnfinishedState};
use strata_types::{
    ClientId, DatabaseId, Decision, Expected, KeySpaceId, LogIndex, Mutation, Operation, Part, Prepared, Request,
    RequestHeader, Revision, SessionRequest, Slot, Space, SpaceKey, SpaceRange, SpaceWrite, Term, Timestamp,
    Transaction, TransactionCall, TransactionId,
};

use crate::show;
use crate::view::TraceView;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Shards by the prefix of their lines, and the transactions that were begun.
#[derive(Default)]
pub(crate) struct ShardRunner {
    shards: BTreeMap<Option<String>, Shard>,
    transactions: BTreeMap<String, Transaction>,
}

/// A shard whose commands stand one to an entry, unless `at` says otherwise.
struct Shard {
    view: TraceView,
    next: Revision,
    stamp: Timestamp,
}

impl Default for Shard {
    fn default() -> Self {
        Shard { view: TraceView::default(), next: revision(1, 0), stamp: Timestamp(0) }
    }
}

fn revision(index: u64, position: u32) -> Revision {
    Revision { index: LogIndex(index), position }
}

impl goldenscript::Runner for ShardRunner {
    fn run(&mut self, command: &goldenscript::Command) -> Outcome<String> {
        let mut args = command.consume_args();
        let mut output = String::new();
        if command.name == "begin" {
            self.begin(&mut args)?;
        } else {
            let shard = self.shards.entry(command.prefix.clone()).or_default();
            if let Some(stamp) = args.lookup_parse("stamp")? {
                shard.stamp = Timestamp(stamp);
            }
            if !shard.look(&command.name, &mut args, &mut output)?
                && !shard.step(&command.name, &mut args, &self.transactions, &mut output)?
            {
                shard.write(&command.name, &mut args, &mut output)?;
            }
        }
        args.reject_rest()?;
        Ok(output)
    }
}

impl ShardRunner {
    /// begin NAME TIMESTAMP [anchor=KEY] [age=TIMESTAMP]: NAME is T and a number. Its anchor is the slot of KEY.
    fn begin(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome<()> {
        let anchor = args.lookup("anchor").map_or(Slot::of_key(b"a"), |arg| Slot::of_key(arg.value.as_bytes()));
        let age = args.lookup_parse("age")?;
        let name = positional(args, "name")?.value.clone();
        let id = TransactionId(name.strip_prefix('T').ok_or("a name is T and a number")?.parse()?);
        let read_timestamp = Timestamp(positional(args, "timestamp")?.parse()?);
        let age = age.map_or(read_timestamp, Timestamp);
        self.transactions.insert(name, Transaction { id, anchor, read_timestamp, age });
        Ok(())
    }
}

impl Shard {
    /// Whatever changes nothing.
    fn look(&mut self, name: &str, args: &mut ArgumentConsumer<'_>, output: &mut String) -> Outcome<bool> {
        match name {
            // rows: all rows of the tablet.
            "rows" => {
                for (key, value) in &self.view.rows {
                    writeln!(output, "{} = {}", show::key(key), show::row(key, value))?;
                }
            }
            // row session CLIENT | row summary
            "row" => {
                let wanted = rest(args);
                let found = self.view.rows.iter().find(|(key, _)| show::key(key) == wanted);
                let shown = found.map_or("nothing".to_owned(), |(key, value)| show::row(key, value));
                writeln!(output, "{wanted} = {shown}")?;
            }
            // get KEY [at=TIMESTAMP]
            "get" => {
                let header = header(args)?;
                let key = text(positional(args, "key")?);
                let read = strata_shard::get(&self.view, &header, &key);
                let shown = read.map(|item| show::optional_item(item.as_ref()));
                self.report(output, &shown.unwrap_or_else(|obstacle| show::obstacle(&obstacle)))?;
            }
            // scan [START] [END] [limit=N] [keep=PREFIX] [at=TIMESTAMP]
            "scan" => {
                let header = header(args)?;
                let limit = args.lookup_parse("limit")?.unwrap_or(10);
                let prefix = args.lookup("keep").map_or(Vec::new(), |arg| arg.value.clone().into_bytes());
                let start = args.next_pos().map_or(Bytes::new(), text);
                let end = args.next_pos().map(text);
                let keep = |key: &[u8]| key.starts_with(&prefix);
                let read = strata_shard::scan(&self.view, &header, &start, end.as_deref(), limit, &keep);
                let shown = read.map(|reply| show::result(&reply));
                self.report(output, &shown.unwrap_or_else(|obstacle| show::obstacle(&obstacle)))?;
            }
            // change KEY: when it was last changed. blocker KEY: whose undecided write stands on it.
            "change" | "blocker" => {
                let key = SpaceKey { space: header(args)?.space(), key: text(positional(args, "key")?) };
                let shown = match name {
                    "change" => strata_shard::newest_change(&self.view, &key).to_string(),
                    _ => strata_shard::blocker_of(&self.view, &key)
                        .map_or("nobody".to_owned(), |by| show::transaction(&by)),
                };
                self.report(output, &shown)?;
            }
            // garbage HORIZON [rows=N]: what a collect may name, page by page.
            "garbage" => {
                let rows_max = args.lookup_parse("rows")?.unwrap_or(100);
                let horizon = Timestamp(positional(args, "horizon")?.parse()?);
                for page in self.garbage(horizon, rows_max) {
                    let rows = page.iter().map(|row| show::key(row)).collect::<Vec<_>>().join(", ");
                    writeln!(output, "[{rows}]")?;
                }
            }
            // unfinished [max=N]: what somebody has to act on.
            "unfinished" => {
                let max = args.lookup_parse("max")?.unwrap_or(100);
                for unfinished in strata_shard::unfinished(&self.view, max) {
                    let state = match unfinished.state {
                        UnfinishedState::Prepared { at } => format!("prepared {at}"),
                        UnfinishedState::Committed { at, participants } => {
                            format!("committed {at} on {}", show::slots(&participants))
                        }
                    };
                    writeln!(output, "{}: {state}", show::transaction(&unfinished.transaction))?;
                }
            }
            _ => return Ok(false),
        }
        self.view.take_trace();
        Ok(true)
    }

    fn garbage(&self, horizon: Timestamp, rows_max: usize) -> Vec<Vec<Bytes>> {
        let (mut pages, mut from) = (Vec::new(), None);
        loop {
            let page = strata_shard::garbage(&self.view, horizon, from.as_ref(), rows_max);
            pages.push(page.rows);
            match page.resume {
                Some(next) => from = Some(next),
                None => return pages,
            }
        }
    }

    /// commit NAME PART [prepared=TIMESTAMP on=KEY/KEY] | prepare NAME PART | abort NAME | resolve NAME
    /// TIMESTAMP|aborted | forget NAME | status NAME | collect HORIZON [none | ROW ...]
    ///   PART: [reads=KEY/KEY] [ranges=START..END/START..] KEY=VALUE ... KEY: writes, and keys that are removed
    ///   prepared, on: the latest stamp of those that are prepared, and a key of each
    /// Without rows, a collect names all garbage that there is.
    fn step(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
        transactions: &BTreeMap<String, Transaction>,
        output: &mut String,
    ) -> Outcome<bool> {
        if name == "collect" {
            let horizon = Timestamp(positional(args, "horizon")?.parse()?);
            let rows = match rest(args).as_str() {
                "" => self.garbage(horizon, 100).concat(),
                "none" => Vec::new(),
                wanted => self.view.rows.keys().filter(|key| wanted.contains(&show::key(key))).cloned().collect(),
            };
            self.view.take_trace();
            let reply = self.apply(&encode_collect(horizon, &rows));
            self.report(output, &show::reply(&reply))?;
            return Ok(true);
        }
        if !["commit", "prepare", "abort", "resolve", "forget", "status"].contains(&name) {
            return Ok(false);
        }
        let header = header(args)?;
        let called = &positional(args, "name")?.value;
        let transaction = *transactions.get(called).ok_or_else(|| format!("{called} was not begun"))?;
        let call = match name {
            "status" => {
                let status = strata_shard::status(&self.view, transaction.id);
                self.report(output, &show::status(&status))?;
                return Ok(true);
            }
            "commit" => {
                let prepared = prepared(args)?;
                TransactionCall::Commit(Part { prepared, ..part(args, header.space(), transaction) })
            }
            "prepare" => TransactionCall::Prepare(part(args, header.space(), transaction)),
            "abort" => TransactionCall::Abort { transaction },
            "forget" => TransactionCall::Forget { transaction },
            _ => {
                let decision = match positional(args, "decision")? {
                    arg if arg.value == "aborted" => Decision::Aborted,
                    arg => Decision::Committed(Timestamp(arg.parse()?)),
                };
                TransactionCall::Resolve { transaction, slot: transaction.anchor, decision }
            }
        };
        let operation = Operation::Transact(Box::new(call));
        let reply = self.apply(&encode_command(&Request { header, operation })?);
        self.report(output, &show::reply(&reply))?;
        Ok(true)
    }

    fn write(&mut self, name: &str, args: &mut ArgumentConsumer<'_>, output: &mut String) -> Outcome<()> {
        match name {
            // stamp N: the timestamp of the commands from here on. It can also be said with a command: stamp=N.
            "stamp" => self.stamp = Timestamp(positional(args, "timestamp")?.parse()?),
            // at REVISION: where the next command stands.
            "at" => self.next = positional(args, "revision")?.parse()?,
            // fill FROM COUNT: one entry that holds a put with a new session for each of COUNT clients, numbered from
            // FROM and opened at the entry before.
            "fill" => {
                let from: u64 = positional(args, "from")?.parse()?;
                let entry = self.next.index;
                for position in 0..positional(args, "count")?.parse::<u32>()? {
                    self.next = Revision { index: entry, position };
                    self.put_in_session(from + u64::from(position), 1, entry.0 - 1);
                }
                self.view.take_trace();
            }
            // write CLIENT FROM COUNT: COUNT puts of one session from sequence FROM on, floor 1.
            "write" => {
                let client = positional(args, "client")?.parse()?;
                let from: u64 = positional(args, "from")?.parse()?;
                for sequence in from..from + positional(args, "count")?.parse::<u64>()? {
                    self.put_in_session(client, sequence, 0);
                }
                self.view.take_trace();
            }
            // overwrite KEY COUNT: as many puts of the key, with the numbers from 1 on.
            "overwrite" => {
                let key = text(positional(args, "key")?);
                for number in 1..=positional(args, "count")?.parse::<u32>()? {
                    let value = Bytes::from(number.to_string());
                    let operation = Operation::Put { key: key.clone(), value };
                    self.apply(&encode_command(&Request { header: RequestHeader::default(), operation })?);
                }
                self.view.take_trace();
            }
            name => {
                let header = header(args)?;
                let encoded = match operation(name, args)? {
                    Some(operation) => encode_command(&Request { header, operation })?,
                    None => Command { header: CommandHeader::of(&header), body: CommandBody::Noop }.encode(),
                };
                let reply = self.apply(&encoded);
                self.report(output, &show::reply(&reply))?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, command: &Bytes) -> Bytes {
        let (index, position) = (self.next.index, self.next.position);
        let context = CommandContext { term: Term(1), index, position, stamp: self.stamp };
        self.next = revision(self.next.index.0 + 1, 0);
        ShardMachine.apply(&mut self.view, context, command)
    }

    fn put_in_session(&mut self, client: u64, sequence: u64, opened: u64) {
        let (client, opened) = (ClientId(client), LogIndex(opened));
        let session = Some(SessionRequest { client, sequence, floor: 1, opened });
        let header = RequestHeader { session, ..RequestHeader::default() };
        let operation = Operation::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
        self.apply(&encode_command(&Request { header, operation }).unwrap());
    }

    fn report(&self, output: &mut String, reply: &str) -> Outcome<()> {
        for line in self.view.take_trace() {
            writeln!(output, "{line}")?;
        }
        writeln!(output, "-> {reply}")?;
        Ok(())
    }
}

/// put KEY VALUE | delete KEY | cas KEY absent|value=V|revision=R [to=V] | batch KEY=VALUE KEY ... | noop
fn operation(name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome<Option<Operation>> {
    Ok(Some(match name {
        "put" => Operation::Put {
            key: text(positional(args, "key")?),
            value: sized(args)?.map_or_else(|| positional(args, "value").map(text), Ok)?,
        },
        "delete" => Operation::Delete { key: text(positional(args, "key")?) },
        "cas" => {
            let key = text(positional(args, "key")?);
            let value = args.lookup("to").map(text);
            let expected = match (args.lookup("value"), args.lookup_parse("revision")?) {
                (Some(value), None) => Expected::Value(text(value)),
                (None, Some(revision)) => Expected::Revision(revision),
                (None, None) if args.next_pos().is_some_and(|arg| arg.value == "absent") => Expected::Absent,
                _ => return Err("expected one of: absent, value=V, revision=R".into()),
            };
            Operation::CompareAndSet { key, expected, value }
        }
        "batch" => {
            let mutation = |arg: &Argument| match &arg.key {
                Some(key) => Mutation::Put { key: Bytes::from(key.clone()), value: text(arg) },
                None => Mutation::Delete { key: text(arg) },
            };
            Operation::Batch { mutations: args.rest().into_iter().map(mutation).collect() }
        }
        "noop" => return Ok(None),
        name => return Err(format!("unknown command {name}").into()),
    }))
}

fn part(args: &mut ArgumentConsumer<'_>, space: Space, transaction: Transaction) -> Part {
    let list = |arg: Option<&Argument>| -> Vec<String> {
        arg.map_or(Vec::new(), |arg| arg.value.split('/').map(str::to_owned).collect())
    };
    let key = |key: &str| SpaceKey { space, key: Bytes::from(key.to_owned()) };
    let reads: Vec<SpaceKey> = list(args.lookup("reads")).iter().map(|text| key(text)).collect();
    let ranges = list(args.lookup("ranges"));
    let range = |text: &String| {
        let (start, end) = text.split_once("..").unwrap_or((text, ""));
        let end = (!end.is_empty()).then(|| key(end).key);
        SpaceRange { space, start: key(start).key, end }
    };
    let write = |arg: &Argument| match &arg.key {
        Some(name) => SpaceWrite { key: key(name), value: Some(text(arg)) },
        None => SpaceWrite { key: key(&arg.value), value: None },
    };
    let writes: Vec<SpaceWrite> = args.rest().into_iter().map(write).collect();
    let first = writes.first().map(|write| &write.key).or(reads.first());
    let slot = first.map_or(Slot::of_key(b""), SpaceKey::slot);
    let ranges = ranges.iter().map(range).collect();
    Part { transaction, slot, reads, ranges, writes, prepared: Prepared::default() }
}

fn prepared(args: &mut ArgumentConsumer<'_>) -> Outcome<Prepared> {
    let at = Timestamp(args.lookup_parse("prepared")?.unwrap_or(0));
    let participants = args
        .lookup("on")
        .map_or(Vec::new(), |arg| arg.value.split('/').map(|key| Slot::of_key(key.as_bytes())).collect());
    Ok(Prepared { at, participants })
}

/// The value of `size=N`: that many bytes.
fn sized(args: &mut ArgumentConsumer<'_>) -> Outcome<Option<Bytes>> {
    Ok(args.lookup_parse::<usize>("size")?.map(|size| Bytes::from(vec![b'x'; size])))
}

/// [database=N] [key_space=N] [session=CLIENT/SEQUENCE/FLOOR[/OPENED]] [at=TIMESTAMP]
fn header(args: &mut ArgumentConsumer<'_>) -> Outcome<RequestHeader> {
    let session = match args.lookup("session") {
        None => None,
        Some(arg) => {
            let numbers: Vec<u64> = arg.value.split('/').map(str::parse).collect::<Result<_, _>>()?;
            let wrong = "expected session=CLIENT/SEQUENCE/FLOOR[/OPENED]";
            let (&[client, sequence, floor], opened) = numbers.split_first_chunk().ok_or(wrong)?;
            let opened = LogIndex(opened.first().copied().unwrap_or(0));
            Some(SessionRequest { client: ClientId(client), sequence, floor, opened })
        }
    };
    Ok(RequestHeader {
        database: DatabaseId(args.lookup_parse("database")?.unwrap_or(0)),
        key_space: KeySpaceId(args.lookup_parse("key_space")?.unwrap_or(0)),
        session,
        at: args.lookup_parse("at")?.map(Timestamp),
        ..RequestHeader::default()
    })
}

fn positional<'a>(args: &mut ArgumentConsumer<'a>, name: &str) -> Outcome<&'a Argument> {
    Ok(args.next_pos().ok_or_else(|| format!("{name} not given"))?)
}

/// What is left, as it was written.
fn rest(args: &mut ArgumentConsumer<'_>) -> String {
    args.rest_pos().iter().map(|arg| arg.value.clone()).collect::<Vec<_>>().join(" ")
}

fn text(arg: &Argument) -> Bytes {
    Bytes::from(arg.value.clone())
}
