//! The glue to the server. Nothing else in the crate may be `unsafe` or talk to SPI directly.

pub mod databases;
pub mod error;
pub mod expression;
pub mod free_space;
pub mod heap;
pub mod lock;
pub mod memory;
pub mod name;
pub mod own;
pub mod process;
pub mod relation;
pub mod remote;
pub mod role;
pub mod secret;
pub mod session;
pub mod shared;
pub mod spi;
pub mod statement;
pub mod subtransaction;
pub mod time;
pub mod top_level;
pub mod types;
pub mod user_mapping;
pub mod version;
pub mod xid;
pub mod zone;
