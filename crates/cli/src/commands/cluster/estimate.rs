//! How far a replica is that is being built, and how long the rest takes, from what its node and its leader told just now.

use std::time::Duration;

use strata_proto::v1;

/// How far it is; what nobody can know yet is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Bytes of a snapshot that are there, and about how many there are in all.
    pub bytes: Option<(u64, u64)>,
    /// At the pace of the last seconds.
    pub left: Option<Duration>,
}

impl Estimate {
    /// First a snapshot arrives, unless the leader's log goes back far enough; then entries that came meanwhile.
    pub fn of(newcomer: &v1::ReplicaStatus, leader: &v1::ReplicaStatus) -> Estimate {
        let (Some(own), Some(told)) = (newcomer.figures, leader.figures) else { return Estimate::default() };
        if own.arrived > 0 {
            let total = told.size.max(own.arrived);
            let left = seconds(total - own.arrived, own.arriving_per_second);
            return Estimate { bytes: Some((own.arrived, total)), left };
        }
        // With nothing at all it may be waiting for its turn.
        let behind = leader.last.saturating_sub(newcomer.applied);
        let gain = own.entries_per_second.saturating_sub(told.entries_per_second);
        let left = if newcomer.applied == 0 { None } else { seconds(behind, gain) };
        Estimate { bytes: None, left }
    }
}

/// At no pace it is not known when it ends, unless it has.
fn seconds(rest: u64, pace: u64) -> Option<Duration> {
    if rest == 0 {
        return Some(Duration::ZERO);
    }
    (pace > 0).then(|| Duration::from_secs(rest.div_ceil(pace)))
}

/// "12 s", "3 min", "2 h".
pub fn left_text(left: Option<Duration>) -> String {
    match left.map(|left| left.as_secs()) {
        None => "not known yet".to_owned(),
        Some(seconds @ ..120) => format!("{seconds} s"),
        Some(seconds @ ..7_200) => format!("{} min", seconds.div_ceil(60)),
        Some(seconds) => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(last: u64, figures: Option<v1::ReplicaFigures>) -> v1::ReplicaStatus {
        v1::ReplicaStatus { last, applied: last, figures, ..v1::ReplicaStatus::default() }
    }

    fn snapshot(arrived: u64, arriving_per_second: u64) -> Option<v1::ReplicaFigures> {
        Some(v1::ReplicaFigures { arrived, arriving_per_second, ..v1::ReplicaFigures::default() })
    }

    fn entries(entries_per_second: u64) -> Option<v1::ReplicaFigures> {
        Some(v1::ReplicaFigures { entries_per_second, size: 1_000, ..v1::ReplicaFigures::default() })
    }

    #[test]
    fn a_snapshot_takes_as_long_as_its_pace_says() {
        let of = |figures| Estimate::of(&replica(0, figures), &replica(900, entries(5)));
        let at = |arrived, left: Option<u64>| Estimate {
            bytes: Some((arrived, 1_000)),
            left: left.map(Duration::from_secs),
        };
        assert_eq!(of(snapshot(400, 50)), at(400, Some(12)));
        assert_eq!(of(snapshot(400, 0)), at(400, None), "it has just begun, or stands still");
        assert_eq!(of(snapshot(1_000, 50)), at(1_000, Some(0)));
        let more = Estimate { bytes: Some((1_200, 1_200)), left: Some(Duration::ZERO) };
        assert_eq!(of(snapshot(1_200, 50)), more, "sizes are coarse");
    }

    #[test]
    fn entries_take_as_long_as_it_is_faster_than_its_leader() {
        let of =
            |last, pace, leader| Estimate::of(&replica(last, entries(pace)), &replica(1_000, entries(leader))).left;
        assert_eq!(of(400, 110, 10), Some(Duration::from_secs(6)));
        assert_eq!(of(400, 10, 10), None, "never, at this pace");
        assert_eq!(of(1_000, 0, 0), Some(Duration::ZERO));
        assert_eq!(of(0, 0, 0), None, "it has not begun");
        assert_eq!(Estimate::of(&replica(4, None), &replica(9, entries(1))), Estimate::default(), "an older program");
    }

    #[test]
    fn times_are_told_in_words_that_fit() {
        let text = |seconds| left_text(Some(Duration::from_secs(seconds)));
        assert_eq!([0, 119, 121, 7_199, 7_200].map(text), ["0 s", "119 s", "3 min", "120 min", "2 h"]);
        assert_eq!(left_text(None), "not known yet");
    }
}
