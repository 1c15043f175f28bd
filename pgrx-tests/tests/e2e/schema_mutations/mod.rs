//! Whatever CREATE, ALTER, GRANT and COMMENT can change, opdb notices, and names exactly that.

mod case;
mod code;
mod columns;
mod details;
mod elsewhere;
mod extensions;
mod fixture;
mod mutations;
mod partitions;
mod relations;
mod remarks;
mod rights;
mod stability;
mod types;
