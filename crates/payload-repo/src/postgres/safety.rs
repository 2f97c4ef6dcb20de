//! Whether a server can be trusted with a catalog, asked when it is first connected to.

use payload_core::{Error, Reason, Result};

use super::connect::{Conn, Session};
use super::fault::Fault;
use super::options::{Settings, Target};

/// The oldest version that has all that is asked of it.
const VERSION_MIN: i32 = 130_000;

/// What a server says of itself.
struct Facts {
    version: i32,
    recovering: bool,
    /// Settings without which a crash of the host can lose what was acknowledged, or damage the database.
    switched_off: Vec<String>,
    /// Standbys that a commit does not wait for.
    lagging: i64,
}

/// Refuses a server that may lose what it acknowledged. Returns what is allowed, but not without a word.
pub(super) fn check(target: &Target) -> Result<Option<String>> {
    let fault = |fault: Fault| fault.into_error(target.name());
    let conn = Conn::open(target, &[]).map_err(fault)?;
    let facts = conn.run(facts).map_err(fault)?;
    let name = target.name();
    if facts.version < VERSION_MIN {
        return Err(Error::new(
            Reason::RepositoryIncompatible,
            format!(
                "{name} runs version {}; this server needs {} or newer",
                facts.version / 10_000,
                VERSION_MIN / 10_000
            ),
        ));
    }
    if facts.recovering {
        return Err(Error::new(
            Reason::RepositoryReadOnly,
            format!("{name} is a standby; connect to its primary"),
        ));
    }
    if !facts.switched_off.is_empty() && target.options.settings == Settings::MustBeSafe {
        return Err(Error::new(
            Reason::RepositoryUnsafe,
            format!(
                "{name} has {}, so a crash of its host can damage it; switch it on, or set repository.unsafe_settings to \"accept\"",
                facts.switched_off.join(" and ")
            ),
        ));
    }
    Ok((facts.lagging > 0).then(|| {
        format!(
            "{name} has a standby that commits do not wait for: failing over to it loses what was acknowledged last"
        )
    }))
}

async fn facts(session: &Session) -> Result<Facts, Fault> {
    let sql = "
        SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
            ARRAY(SELECT name || ' = off' FROM (VALUES ('fsync'), ('full_page_writes')) AS needed (name)
                  WHERE current_setting(name) = 'off'),
            (SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'async')";
    let row = session.client().query_one(sql, &[]).await?;
    Ok(Facts {
        version: row.try_get(0)?,
        recovering: row.try_get(1)?,
        switched_off: row.try_get(2)?,
        lagging: row.try_get(3)?,
    })
}
