//! Comparing the rows of two servers.

mod broken;
mod differences;
mod meanwhile;
mod oracle;
mod summary;
mod wire;

use postgres::Client;

use crate::fixture::rows;

/// Difference, key and columns of each row that differs, sorted.
fn differences(client: &mut Client, arguments: &str) -> Vec<String> {
    let sql = format!(
        "SELECT concat_ws(' ', difference, key, columns) FROM opdb.compare_data('production', {arguments}) ORDER BY 1"
    );
    rows(client, &sql).concat()
}
