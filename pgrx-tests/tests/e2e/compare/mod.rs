//! Comparing the rows of two servers.

mod oracle;
