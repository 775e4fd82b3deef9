use super::*;

strata_codec::fuzz_targets!();

const NODE: NodeId = NodeId(4);

fn id(number: u128) -> TransactionId {
    TransactionId(number << 100 | number)
}

fn on_shard(phase: OpenPhase, waits_for: Option<TransactionId>) -> OpenTransaction {
    let anchor = Slot::new(700).expect("a slot");
    OpenTransaction {
        transaction: Transaction { id: id(5), anchor, read_timestamp: Timestamp(8), age: Timestamp(3) },
        phase,
        shard: ShardId(2),
        elapsed: Duration::from_millis(1_500),
        locks: 3,
        waits_for,
    }
}

fn kept(anchor: Option<u16>, stage: KeptStage) -> KeptTransaction {
    KeptTransaction {
        node: NODE,
        id: id(6),
        anchor: anchor.map(|number| Slot::new(number).expect("a slot")),
        read_timestamp: Timestamp(8),
        age: Timestamp(3),
        elapsed: Duration::from_millis(2_500),
        stage,
    }
}

fn all_kept() -> Vec<KeptTransaction> {
    let stages = [
        KeptStage::Open,
        KeptStage::Committing,
        KeptStage::Unanswered,
        KeptStage::Ended(Decision::Aborted),
        KeptStage::Ended(Decision::Committed(Timestamp(9))),
    ];
    stages.into_iter().map(|stage| kept(Some(700), stage)).chain([kept(None, KeptStage::Open)]).collect()
}

fn some_on_shards() -> Vec<OpenTransaction> {
    vec![on_shard(OpenPhase::Waiting, Some(id(9))), on_shard(OpenPhase::Committed, None)]
}

#[test]
fn what_is_asked_and_told_arrives_and_damage_is_an_error_or_something_else() {
    let patience = Duration::from_millis(300);
    let questions = [Question::OnShards, Question::All, Question::Find(id(7)), Question::Abort(id(7), patience)];
    for question in questions {
        assert_eq!(decode_question(encode_question(question)), Ok(question));
    }
    let open = Open { on_shards: some_on_shards(), kept: Some(all_kept()), left_out: 3 };
    assert_eq!(decode_open(encode_open(&open), NODE), Ok(open.clone()));
    let found: Vec<_> = all_kept().into_iter().map(Some).chain([None]).collect();
    for found in &found {
        assert_eq!(decode_found(encode_found(found.as_ref()), NODE), Ok(*found));
    }
    each(&questions.map(encode_question), |bytes| drop(decode_question(bytes)));
    each(&[encode_open(&open)], |bytes| drop(decode_open(bytes, NODE)));
    let samples: Vec<Bytes> = found.iter().map(|found| encode_found(found.as_ref())).collect();
    each(&samples, |bytes| drop(decode_found(bytes, NODE)));
}

/// A program that keeps to itself what its clients have open answers each question with what its shards have.
#[test]
fn older_programs_are_understood() {
    for on_shards in [Vec::new(), some_on_shards()] {
        let theirs = encode_open(&Open { on_shards: on_shards.clone(), kept: None, left_out: 0 });
        let understood = decode_open(theirs.clone(), NODE).expect("what they have always told");
        assert_eq!(understood, Open { on_shards, kept: None, left_out: 0 });
        assert!(decode_found(theirs, NODE).is_err(), "they have not looked");
    }
}

/// Nodes of other versions read these: a line may be added, never changed.
#[test]
fn bytes_are_pinned() {
    let one = TransactionId(1);
    let question = |question| encode_question(question).to_vec();
    assert_eq!((question(Question::OnShards), question(Question::All)), (vec![], vec![1]));
    let mut expected = vec![2];
    expected.extend(1_u128.to_be_bytes());
    assert_eq!(question(Question::Find(one)), expected);
    expected[0] = 3;
    expected.extend(258_u64.to_be_bytes());
    assert_eq!(question(Question::Abort(one, Duration::from_millis(258))), expected);
    assert_eq!(encode_found(None)[..], [0]);
    let stage = KeptStage::Ended(Decision::Committed(Timestamp(9)));
    let mut expected = vec![1];
    expected.extend(id(6).0.to_be_bytes());
    expected.extend([1, 2, 188]);
    expected.extend([8, 3, 2_500].into_iter().flat_map(u64::to_be_bytes));
    expected.push(4);
    expected.extend(9_u64.to_be_bytes());
    assert_eq!(encode_found(Some(&kept(Some(700), stage)))[..], expected);
}
