//! Session.

use strata_types::{ClientId, LogIndex, SessionRequest};

use crate::v1;

impl From<SessionRequest> for v1::Session {
    fn from(session: SessionRequest) -> v1::Session {
        v1::Session {
            client: session.client.0,
            sequence: session.sequence,
            floor: session.floor,
            opened: session.opened.0,
        }
    }
}

impl From<v1::Session> for SessionRequest {
    fn from(session: v1::Session) -> SessionRequest {
        SessionRequest {
            client: ClientId(session.client),
            sequence: session.sequence,
            floor: session.floor,
            opened: LogIndex(session.opened),
        }
    }
}
