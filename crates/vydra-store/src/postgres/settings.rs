//! Where a database is, as its URL says.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const PORT: u16 = 5432;
const READERS: usize = 8;
/// What else of a URL is ours to decide: which server takes writes, and when a silent one is given up.
const PARAMETERS: [&str; 14] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "load_balance_hosts",
    "options",
    "password",
    "port",
    "sslmode",
    "sslnegotiation",
    "target_session_attrs",
    "user",
];

/// How a database of Postgres is reached. Nothing that shows it tells the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    pub(super) config: Config,
    /// How many connections are kept for reading.
    pub readers: usize,
}

/// Why a URL names no database; tells nothing of what it holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl FromStr for PostgresSettings {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        let refused = |why: &str| Err(UrlError(why.to_owned()));
        let Some(place) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            return refused("must begin with postgres:// or postgresql://");
        };
        let authority = place.split(['/', '?']).next().unwrap_or_default();
        // Otherwise a piece of the password would count as a part of the place, which is shown.
        if place.matches('@').count() > 1 || place.contains('@') != authority.contains('@') {
            return refused(
                "has an @ too many: in the name and the password of the user write %40 for @, %2F for / and %3F for ?",
            );
        }
        let query = place.split_once('?').map_or("", |(_, query)| query);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, _) = parameter.split_once('=').unwrap_or((parameter, ""));
            if !PARAMETERS.contains(&name) {
                return Err(UrlError(format!(
                    "has a parameter that is none of {}",
                    PARAMETERS.join(", ")
                )));
            }
        }
        let config = url.parse::<Config>().map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            UrlError(why.unwrap_or_else(|| "is no URL of a database".to_owned()))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return refused("names no host");
        }
        Ok(Self {
            config,
            readers: READERS,
        })
    }
}

impl PostgresSettings {
    /// Whether whatever is sent stays on this machine.
    pub fn is_local(&self) -> bool {
        let is_loopback = |host: &Host| match host {
            Host::Unix(_) => true,
            Host::Tcp(name) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        };
        let addresses = self.config.get_hostaddrs();
        self.config.get_hosts().iter().all(is_loopback) && addresses.iter().all(IpAddr::is_loopback)
    }
}

/// For an operator: `postgres://user@host/database`.
impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEMES[0])?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{}@", user.escape_debug())?;
        }
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string().replace('/', "%2F"),
        });
        let mut hosts: Vec<String> = hosts.collect();
        if hosts.is_empty() {
            let addresses = self.config.get_hostaddrs().iter();
            hosts.extend(addresses.map(ToString::to_string));
        }
        let ports = self.config.get_ports();
        for (number, host) in hosts.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{}", host.escape_debug())?;
            match ports.get(number).or(ports.first()) {
                None | Some(&PORT) => {}
                Some(port) => write!(f, ":{port}")?,
            }
        }
        match self.config.get_dbname() {
            Some(name) => write!(f, "/{}", name.escape_debug()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_without_its_password() {
        for (url, shown) in [
            (
                "postgres://vydra:hunter2@db.example:6432/vydra?connect_timeout=3",
                "postgres://vydra@db.example:6432/vydra",
            ),
            (
                "postgresql://v%20x:hunter2%40%2F%3F@one,two:5433/vydra",
                "postgres://v x@one,two:5433/vydra",
            ),
            (
                "postgres:///vydra?host=/run/postgresql&user=vydra&password=hunter2",
                "postgres://vydra@%2Frun%2Fpostgresql/vydra",
            ),
            ("postgres://[::1]/vydra", "postgres://[::1]/vydra"),
            ("postgres://db", "postgres://db"),
        ] {
            let settings: PostgresSettings = url.parse().unwrap();
            assert_eq!(settings.to_string(), shown);
            let debugged = format!("{settings:?}");
            assert!(!debugged.contains("hunter2"), "{debugged}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_telling_what_it_holds() {
        for (url, why) in [
            ("mysql://vydra:hunter2@db/vydra", "must begin with"),
            ("host=db password=hunter2", "must begin with"),
            ("postgres://vydra:hun@ter2@db/vydra", "an @ too many"),
            ("postgres://vydra:hun/ter2@db/vydra", "an @ too many"),
            ("postgres://vydra:hun?ter2@db/vydra", "an @ too many"),
            ("postgres://db/vydra?user=x@hunter2", "an @ too many"),
            ("postgres://db:ter2/vydra", "port"),
            ("postgres://db/vydra?password=h&unter2=x", "none of"),
            ("postgres://db/vydra?hunter2", "none of"),
            ("postgres://db/vydra?user", "parameter"),
            (
                "postgres://db/vydra?connect_timeout=ter2",
                "connect_timeout",
            ),
            ("postgres:///vydra", "no host"),
        ] {
            let refused = url.parse::<PostgresSettings>().unwrap_err().to_string();
            assert!(refused.contains(why), "{url}: {refused}");
            assert!(!refused.contains("ter2"), "{url}: {refused}");
        }
    }

    #[test]
    fn what_stays_on_this_machine_is_known() {
        for (url, is_local) in [
            ("postgres://127.0.0.1/vydra", true),
            ("postgres://[::1],localhost/vydra", true),
            ("postgres:///vydra?host=/run/postgresql", true),
            ("postgres://db/vydra", false),
            ("postgres://localhost,db/vydra", false),
            ("postgres://localhost/vydra?hostaddr=10.0.0.1", false),
        ] {
            let settings: PostgresSettings = url.parse().unwrap();
            assert_eq!(settings.is_local(), is_local, "{url}");
        }
    }
}
