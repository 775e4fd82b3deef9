//! Runs the scripts: each command shows its reads, its writes and its reply, also one that cannot be carried out
//! (MACHINE-2).
//! `UPDATE_GOLDENFILES=1 cargo test -p strata-shard` writes the outputs anew, to be read before they are committed.

use std::error::Error;
use std::fmt::Write as _;

use bytes::Bytes;
use goldenscript::{Argument, ArgumentConsumer};
use strata_codec::{Command, CommandBody, CommandHeader, encode_command};
use strata_machine::{CommandContext, Machine};
use strata_shard::ShardMachine;
use strata_types::{
    ClientId, DatabaseId, Expected, KeySpaceId, LogIndex, Mutation, Operation, Request, RequestHeader, Revision,
    SessionRequest, Term,
};

use crate::show;
use crate::view::TraceView;

type Outcome<T> = Result<T, Box<dyn Error>>;

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
    batch, compare_and_set, delete, key_spaces, put, scan, session_commands, session_eviction, session_floor,
    session_forgotten, session_lag, session_results, session_retry, session_value_too_large,
}

/// A shard whose commands stand one to an entry, unless `at` says otherwise.
struct ShardRunner {
    view: TraceView,
    next: Revision,
}

impl Default for ShardRunner {
    fn default() -> Self {
        ShardRunner { view: TraceView::default(), next: revision(1, 0) }
    }
}

fn revision(index: u64, position: u32) -> Revision {
    Revision { index: LogIndex(index), position }
}

impl goldenscript::Runner for ShardRunner {
    fn run(&mut self, command: &goldenscript::Command) -> Outcome<String> {
        let mut args = command.consume_args();
        let mut output = String::new();
        match command.name.as_str() {
            // at REVISION: where the next command stands.
            "at" => self.next = positional(&mut args, "revision")?.parse()?,
            // fill FROM COUNT: one entry that holds a put with a new session for each of COUNT clients, numbered from
            // FROM and opened at the entry before.
            "fill" => {
                let from: u64 = positional(&mut args, "from")?.parse()?;
                let entry = self.next.index;
                for position in 0..positional(&mut args, "count")?.parse::<u32>()? {
                    self.next = Revision { index: entry, position };
                    self.put_in_session(from + u64::from(position), 1, entry.0 - 1);
                }
                self.view.take_trace();
            }
            // write CLIENT FROM COUNT: COUNT puts of one session from sequence FROM on, floor 1.
            "write" => {
                let client = positional(&mut args, "client")?.parse()?;
                let from: u64 = positional(&mut args, "from")?.parse()?;
                for sequence in from..from + positional(&mut args, "count")?.parse::<u64>()? {
                    self.put_in_session(client, sequence, 0);
                }
                self.view.take_trace();
            }
            // rows: all rows of the tablet.
            "rows" => {
                for (key, value) in &self.view.rows {
                    writeln!(output, "{} = {}", show::key(key), show::row(key, value))?;
                }
            }
            // row session CLIENT | row summary
            "row" => {
                let wanted = args.rest_pos().iter().map(|arg| arg.value.clone()).collect::<Vec<_>>().join(" ");
                let found = self.view.rows.iter().find(|(key, _)| show::key(key) == wanted);
                let shown = found.map_or("nothing".to_owned(), |(key, value)| show::row(key, value));
                writeln!(output, "{wanted} = {shown}")?;
            }
            // get KEY
            "get" => {
                let header = header(&mut args)?;
                let key = text(positional(&mut args, "key")?);
                let item = strata_shard::get(&self.view, &header, &key);
                self.report(&mut output, &show::result(&strata_types::Reply::Get { item, freshness: None }))?;
            }
            // scan [START] [END] [limit=N] [keep=PREFIX]
            "scan" => {
                let header = header(&mut args)?;
                let limit = args.lookup_parse("limit")?.unwrap_or(10);
                let prefix = args.lookup("keep").map_or(Vec::new(), |arg| arg.value.clone().into_bytes());
                let start = args.next_pos().map_or(Bytes::new(), text);
                let end = args.next_pos().map(text);
                let keep = |key: &[u8]| key.starts_with(&prefix);
                let reply = strata_shard::scan(&self.view, &header, &start, end.as_deref(), limit, &keep);
                self.report(&mut output, &show::result(&reply))?;
            }
            name => {
                let header = header(&mut args)?;
                let encoded = match operation(name, &mut args)? {
                    Some(operation) => encode_command(&Request { header, operation })?,
                    None => Command { header: CommandHeader::of(&header), body: CommandBody::Noop }.encode(),
                };
                let reply = self.apply(&encoded);
                self.report(&mut output, &show::reply(&reply))?;
            }
        }
        args.reject_rest()?;
        Ok(output)
    }
}

impl ShardRunner {
    fn apply(&mut self, command: &Bytes) -> Bytes {
        let context = CommandContext { term: Term(1), index: self.next.index, position: self.next.position };
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

/// The value of `size=N`: that many bytes.
fn sized(args: &mut ArgumentConsumer<'_>) -> Outcome<Option<Bytes>> {
    Ok(args.lookup_parse::<usize>("size")?.map(|size| Bytes::from(vec![b'x'; size])))
}

/// [database=N] [key_space=N] [session=CLIENT/SEQUENCE/FLOOR[/OPENED]]
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
        ..RequestHeader::default()
    })
}

fn positional<'a>(args: &mut ArgumentConsumer<'a>, name: &str) -> Outcome<&'a Argument> {
    Ok(args.next_pos().ok_or_else(|| format!("{name} not given"))?)
}

fn text(arg: &Argument) -> Bytes {
    Bytes::from(arg.value.clone())
}
