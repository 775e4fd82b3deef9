//! A cluster of child processes on this machine.
//!
//! ```text
//!   directory/            temporary, or --keep
//!     demo.toml           nodes and ports: so that a later demo goes on with the data
//!     strata.toml         settings of all nodes
//!     certs/              with --tls: a CA, and one certificate for all nodes
//!     n1/ n2/ n3/         data directories
//!
//!   demo --- starts ---> strata start --config directory/strata.toml --data directory/n1 --listen 127.0.0.1:7400
//!        <-- JSON lines on standard output: phases, ready
//!        --- end of standard input: stop cleanly. It ends by itself when the demo is killed
//! ```

mod banner;
mod directory;
mod fleet;
mod layout;
mod running;

pub use banner::{banner, restart_line};
pub use directory::Directory;
pub use fleet::{Event, Fleet, NodeState};
pub use layout::Layout;
pub use running::Running;
