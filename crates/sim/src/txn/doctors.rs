//! [`Story::Doctors`]: what two transactions do that each look at a whole range, and then change different keys of it.

use strata_types::Result;

use super::desk::Desk;
use super::story::Story;
use super::work::Work;

const WARDS: u64 = 2;
const DOCTORS: u64 = 4;
/// Bookings at a time.
const BOOKED_MAX: usize = 3;

fn doctor(ward: u64, number: u64) -> String {
    format!("d/{ward}/{number}")
}

/// Everybody.
pub(crate) fn all_doctors() -> impl Iterator<Item = String> {
    (0..WARDS).flat_map(|ward| (0..DOCTORS).map(move |number| doctor(ward, number)))
}

impl Desk {
    /// Everybody is on call.
    pub(crate) async fn hire(&mut self) -> Result<()> {
        self.transact(Work::Hire).await
    }

    pub(crate) async fn doctors(&mut self) -> Result<()> {
        match self.dice.between(0, 9) {
            0..=4 => self.change_call().await,
            5..=6 => self.book_room().await,
            _ => self.inspect().await,
        }
    }

    /// Goes off call if another one stays, or comes back.
    async fn change_call(&mut self) -> Result<()> {
        let ward = self.dice.between(0, WARDS - 1);
        let own = doctor(ward, self.dice.between(0, DOCTORS - 1));
        let by_range = self.dice.chance(700);
        let mut attempt = self.begin(Story::Doctors).await?;
        let (notes, txn) = (&mut attempt.notes, &mut attempt.txn);
        let mut on_call = Vec::new();
        if by_range {
            let found = notes.scan(txn, &format!("d/{ward}/"), &format!("d/{ward}0")).await?;
            on_call.extend(found.into_iter().map(|(key, _)| key));
        } else {
            for key in (0..DOCTORS).map(|number| doctor(ward, number)) {
                if notes.get(txn, &key).await?.is_some() {
                    on_call.push(key);
                }
            }
        }
        self.check_call(ward, &on_call);
        self.think().await;
        let (notes, txn) = (&mut attempt.notes, &mut attempt.txn);
        match on_call.contains(&own) {
            true if on_call.len() > 1 => notes.delete(txn, &own).await?,
            true => {}
            false => notes.put(txn, &own, "").await?,
        }
        self.finish(attempt).await.map(drop)
    }

    /// Books a room that was never booked before, if there are few, or gives one back.
    async fn book_room(&mut self) -> Result<()> {
        let mut attempt = self.begin(Story::Doctors).await?;
        let rooms = attempt.notes.scan(&mut attempt.txn, "h/", "h0").await?;
        let rooms: Vec<String> = rooms.into_iter().map(|(key, _)| key).collect();
        self.check_rooms(&rooms);
        self.think().await;
        if rooms.len() < BOOKED_MAX {
            let room = format!("h/{}", self.book.fresh_unique());
            attempt.notes.put(&mut attempt.txn, &room, "").await?;
        } else {
            let room = self.dice.pick(&rooms).clone();
            attempt.notes.delete(&mut attempt.txn, &room).await?;
        }
        self.finish(attempt).await.map(drop)
    }

    pub(crate) async fn inspect(&mut self) -> Result<()> {
        let (mut notes, snapshot) = self.snapshot(Story::Doctors).await?;
        for ward in 0..WARDS {
            let found = notes.look_over(&snapshot, &format!("d/{ward}/"), &format!("d/{ward}0")).await?;
            let on_call: Vec<String> = found.into_iter().map(|(key, _)| key).collect();
            self.check_call(ward, &on_call);
        }
        let rooms = notes.look_over(&snapshot, "h/", "h0").await?;
        self.check_rooms(&rooms.into_iter().map(|(key, _)| key).collect::<Vec<_>>());
        notes.committed(Some(snapshot.timestamp()));
        Ok(())
    }

    /// SIM-TXN-5: somebody is on call.
    fn check_call(&self, ward: u64, on_call: &[String]) {
        if on_call.is_empty() {
            self.book.report(format!("SIM-TXN-5 the doctors: nobody is on call in ward {ward}"));
        }
    }

    /// SIM-TXN-5: not too many rooms are booked.
    fn check_rooms(&self, rooms: &[String]) {
        if rooms.len() > BOOKED_MAX {
            self.book.report(format!("SIM-TXN-5 the doctors: {rooms:?} are more than {BOOKED_MAX} rooms"));
        }
    }
}
