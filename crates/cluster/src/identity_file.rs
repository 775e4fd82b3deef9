//! The file `identity`: which data directory this is, and which node of which cluster it became.
//!
//! ```text
//!   version u8 | instance u128 | member u8 [node u64 | charter] | checksum u32 of everything before it
//!   member: 0 of no cluster, 1 since the founding, 2 joined later; 3 and 4 are the same of a cluster with a name of its own,
//!   which follows the charter
//! ```

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder, checksum};
use strata_types::NodeId;

use crate::introduction_wire::decode_name;
use crate::{Charter, ClusterName, InstanceId};

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 4;

const SINCE_FOUNDING: u8 = 1;
const JOINED: u8 = 2;
const NAMED_SINCE_FOUNDING: u8 = 3;
const NAMED_JOINED: u8 = 4;

/// What a data directory says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityFile {
    /// The data directory.
    pub(crate) instance: InstanceId,
    /// `None` until a founder has given it a seat.
    pub(crate) membership: Option<Membership>,
}

/// The place of a node in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// What the cluster is called.
    pub(crate) cluster: ClusterName,
    /// This node.
    pub(crate) node: NodeId,
    /// The founder's decision, or the cluster as it was when this node joined.
    pub(crate) charter: Charter,
    /// Whether the cluster is founded with this node. Who joined later never founds a group.
    pub(crate) is_founding: bool,
}

impl Membership {
    /// The place of a data directory; `None` if the charter has no seat for it.
    pub(crate) fn new(
        cluster: ClusterName,
        instance: InstanceId,
        charter: Charter,
        is_founding: bool,
    ) -> Option<Membership> {
        let node = charter.seat_of(instance)?.node;
        Some(Membership { cluster, node, charter, is_founding })
    }

    /// The data directory, which has a seat in the charter; zero if that is damaged.
    pub(crate) fn instance(&self) -> InstanceId {
        self.charter.seat(self.node).map(|seat| seat.instance).unwrap_or_default()
    }
}

impl IdentityFile {
    pub(crate) fn encode(&self) -> Bytes {
        let mut output = Encoder::with_capacity(256);
        output.u8(VERSION).u128(self.instance.0);
        match &self.membership {
            None => {
                output.u8(0);
            }
            Some(Membership { cluster, node, charter, is_founding }) => {
                let member = match (cluster.is_default(), is_founding) {
                    (true, true) => SINCE_FOUNDING,
                    (true, false) => JOINED,
                    (false, true) => NAMED_SINCE_FOUNDING,
                    (false, false) => NAMED_JOINED,
                };
                output.u8(member).u64(node.0);
                charter.encode(&mut output);
                if !cluster.is_default() {
                    output.bytes(cluster.as_str().as_bytes());
                }
            }
        }
        let body = output.finish();
        let mut file = Encoder::with_capacity(body.len() + CHECKSUM_BYTES);
        file.raw(&body).u32(checksum(&body));
        file.finish()
    }

    pub(crate) fn decode(mut file: Bytes) -> Result<IdentityFile, DecodeError> {
        let Some(length) = file.len().checked_sub(CHECKSUM_BYTES) else {
            return Err(DecodeError::Truncated { field: "identity checksum" });
        };
        let stored = Decoder::new(file.split_off(length)).u32("identity checksum")?;
        if stored != checksum(&file) {
            return Err(DecodeError::BadValue { field: "identity checksum", value: stored.into() });
        }
        let mut input = Decoder::new(file);
        match input.u8("identity version")? {
            VERSION => {}
            version => return Err(DecodeError::BadValue { field: "identity version", value: version.into() }),
        }
        let instance = InstanceId(input.u128("instance")?);
        let membership = match input.u8("member")? {
            0 => None,
            member @ (SINCE_FOUNDING | JOINED | NAMED_SINCE_FOUNDING | NAMED_JOINED) => {
                let (node, charter) = (NodeId(input.u64("node")?), Charter::decode(&mut input)?);
                if charter.seat(node).is_none_or(|seat| seat.instance != instance) {
                    return Err(DecodeError::BadValue { field: "node without a seat", value: node.0 });
                }
                let is_founding = matches!(member, SINCE_FOUNDING | NAMED_SINCE_FOUNDING);
                // Directories of before there were names are of the default one.
                let cluster = match member {
                    NAMED_SINCE_FOUNDING | NAMED_JOINED => decode_name(&mut input)?,
                    _ => ClusterName::default(),
                };
                Some(Membership { cluster, node, charter, is_founding })
            }
            value => return Err(DecodeError::BadValue { field: "member", value: value.into() }),
        };
        input.finish()?;
        Ok(IdentityFile { instance, membership })
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{ClusterId, ReplicaId, ReplicaPlacement};

    use super::*;
    use crate::Seat;

    /// Written by the first version. If this test fails, existing data directories cannot be read any more.
    const GOLDEN: &str = concat!(
        "01",                               // version
        "00000000000000000000000000000007", // instance
        "01",                               // is a member
        "0000000000000002",                 // node
        "000000000000000000000000000000c1", // cluster
        "00000004",                         // shard count
        "00000002",                         // seat count
        "0000000000000001",
        "00000000000000000000000000000005", // node, instance
        "00000005",
        "6e313a3130",
        "00000002",
        "6331",
        "00000000", // n1:10, c1, no zone
        "0000000000000002",
        "00000000000000000000000000000007", // node, instance
        "00000005",
        "6e323a3130",
        "00000002",
        "6332",
        "00000001",
        "7a", // n2:10, c2, zone z
        "00000001",
        "0000000000000001",
        "0000000000000001", // meta: replica 1 on node 1
    );

    fn example() -> IdentityFile {
        let seat = |node: u64, instance, zone: &str| Seat {
            node: NodeId(node),
            instance: InstanceId(instance),
            peer_address: format!("n{node}:10"),
            client_address: format!("c{node}"),
            zone: zone.to_owned(),
        };
        let charter = Charter {
            cluster: ClusterId(0xc1),
            seats: vec![seat(1, 5, ""), seat(2, 7, "z")],
            meta: vec![ReplicaPlacement { replica: ReplicaId(1), node: NodeId(1) }],
            shard_count: 4,
        };
        let membership = Membership::new(ClusterName::default(), InstanceId(7), charter, true);
        IdentityFile { instance: InstanceId(7), membership }
    }

    fn joined() -> IdentityFile {
        let mut identity = example();
        identity.membership.as_mut().expect("a member").is_founding = false;
        identity
    }

    #[test]
    fn bytes_are_the_golden_ones() {
        let bytes = example().encode();
        let hex: String = bytes[..bytes.len() - CHECKSUM_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(
            bytes[bytes.len() - CHECKSUM_BYTES..],
            checksum(&bytes[..bytes.len() - CHECKSUM_BYTES]).to_be_bytes()
        );
        assert_eq!(IdentityFile::decode(bytes), Ok(example()));
        // A node that joined later differs in one byte.
        let bytes = joined().encode();
        let hex: String = bytes[..bytes.len() - CHECKSUM_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((&hex[34..36], hex.replacen(&hex[..36], &GOLDEN[..36], 1).as_str()), ("02", GOLDEN));
        assert_eq!(IdentityFile::decode(bytes), Ok(joined()));
        // So does one of a cluster with a name, which comes last.
        for (is_founding, member) in [(true, "03"), (false, "04")] {
            let mut named = example();
            let membership = named.membership.as_mut().expect("a member");
            membership.cluster = ClusterName::parse("prod").expect("a name");
            membership.is_founding = is_founding;
            let bytes = named.encode();
            let hex: String = bytes[..bytes.len() - CHECKSUM_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, format!("{}{member}{}0000000470726f64", &GOLDEN[..34], &GOLDEN[36..]));
            assert_eq!(IdentityFile::decode(bytes), Ok(named));
        }
        let fresh = IdentityFile { instance: InstanceId(9), membership: None };
        assert_eq!(IdentityFile::decode(fresh.encode()), Ok(fresh));
    }

    #[test]
    fn damage_is_found_at_every_byte() {
        let bytes = example().encode();
        for position in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[position] ^= 1;
            IdentityFile::decode(damaged.into()).expect_err("a flipped bit");
            IdentityFile::decode(bytes.slice(..position)).expect_err("a short file");
        }
    }
}
