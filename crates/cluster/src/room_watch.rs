//! Whether this node has room for more replicas, as it says to all who ask.
//!
//! A disk that is nearly full has room in one moment and none in the next, and one on which nothing waits for room does
//! not say how little it has. Replicas must not be sent there again and again because of that: a node that had no room
//! has some again only when it was so for a while, which is twice as long each time. While a replica is copied to it,
//! its room says nothing of what there will be after that.
//!
//! The node itself remembers this, so that who plans and who only wants to know what would be planned are told the
//! same, whoever leads. A node that starts anew has forgotten it.

use std::time::Duration;

use strata_env::Mono;

/// How long there must be room again until more replicas may come: so long at first.
const ROOM_FOR: Duration = Duration::from_secs(30);
/// It does not get longer after so many times: two hours.
const TIMES_MAX: u32 = 9;
/// How long there must be room until it is forgotten that there was none.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// What a node remembers of its room.
#[derive(Default)]
pub(crate) struct RoomWatch {
    is_full: bool,
    /// How often it has become full.
    times: u32,
    /// Since when there has been room, as far as anybody looked, and no replica came.
    since: Option<Mono>,
}

impl RoomWatch {
    /// Looks whether there is room just now. Returns whether the node is full: no more replicas should come.
    /// `is_added_to`: one is on its way.
    pub(crate) fn look(&mut self, now: Mono, has_room: bool, is_added_to: bool) -> bool {
        if !has_room {
            self.times = (self.times + u32::from(!self.is_full)).min(TIMES_MAX);
            (self.is_full, self.since) = (true, None);
            return true;
        }
        let lasted = now.since(*self.since.get_or_insert(now));
        if self.is_full {
            let enough = ROOM_FOR * 2_u32.pow(self.times.saturating_sub(1));
            if lasted >= enough {
                (self.is_full, self.since) = (false, Some(now));
            }
        } else if is_added_to {
            self.since = Some(now);
        } else if lasted >= FORGOTTEN_AFTER {
            self.times = 0;
        }
        self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// Looks every five seconds from then on. Returns for how long there was room until it was believed.
    fn believed_after(watch: &mut RoomWatch, begun: u64) -> u64 {
        let looks = (0..).map(|look| look * 5);
        let mut unbelieved = looks.skip_while(|passed| watch.look(at(begun + passed), true, false));
        unbelieved.next().expect("some time it is believed")
    }

    #[test]
    fn who_has_no_room_is_full_at_once_and_has_room_after_half_a_minute() {
        let mut watch = RoomWatch::default();
        assert!(!watch.look(at(0), true, false));
        assert!(watch.look(at(1), false, false));
        assert!(watch.look(at(100), true, false), "it was not looked at for long, which says nothing");
        assert!(watch.look(at(129), true, false));
        assert!(!watch.look(at(130), true, false));
        assert!(RoomWatch::default().look(at(0), false, false), "the first look is believed");
    }

    #[test]
    fn who_is_full_again_has_to_have_room_for_longer_until_that_is_long_ago() {
        let (mut watch, mut now) = (RoomWatch::default(), 0);
        let mut needed = Vec::new();
        for _ in 0..11 {
            assert!(watch.look(at(now), false, false));
            let believed = believed_after(&mut watch, now + 5);
            needed.push(believed);
            now += believed + 65;
        }
        assert_eq!(needed, [30, 60, 120, 240, 480, 960, 1920, 3840, 7680, 7680, 7680]);
        assert!(!watch.look(at(now + 600), true, false));
        assert!(watch.look(at(now + 605), false, false));
        assert_eq!(believed_after(&mut watch, now + 610), 30);
    }

    #[test]
    fn who_has_room_now_and_none_then_stays_full() {
        let mut watch = RoomWatch::default();
        for look in 0..40 {
            assert!(watch.look(at(look * 20), look % 2 == 1, false));
        }
        assert!(watch.look(at(800), false, false));
        assert_eq!(believed_after(&mut watch, 805), 30, "it has become full once");
    }

    #[test]
    fn room_that_there_is_during_a_copy_does_not_make_it_forgotten_that_there_was_none() {
        let mut watch = RoomWatch::default();
        watch.look(at(0), false, false);
        assert_eq!(believed_after(&mut watch, 5), 30);
        for look in 10..1_000 {
            assert!(!watch.look(at(look * 5), true, true));
        }
        assert!(watch.look(at(5_000), false, false));
        assert_eq!(believed_after(&mut watch, 5_005), 60);
    }
}
