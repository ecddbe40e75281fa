//! Where a database is, and whether what goes there is encrypted: as its URL says.

use super::tls::Trust;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const PORT: u16 = 5432;
const READERS: usize = 8;
/// What else of a URL is ours to decide: which server takes writes, and when a silent one is given up.
const PARAMETERS: [&str; 15] = [
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
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// How a database of Postgres is reached. Nothing that shows it tells the password.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    pub(super) config: Config,
    pub(super) trust: Trust,
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
        Self::read(url, Path::new(""))
    }
}

impl PostgresSettings {
    /// Files that the URL names are relative to `folder`.
    pub fn read(url: &str, folder: &Path) -> Result<Self, UrlError> {
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
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root, mut others) = (None, None, Vec::new());
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("sslmode", value) => mode = Some(value),
                ("sslrootcert", value) => root = Some(value),
                (name, _) if PARAMETERS.contains(&name) => others.push(parameter),
                _ => {
                    let known = PARAMETERS.join(", ");
                    return Err(UrlError(format!("has a parameter that is none of {known}")));
                }
            }
        }
        let url = format!("{base}?{}", others.join("&"));
        let mut config = url.parse::<Config>().map_err(|error| {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            UrlError(why.unwrap_or_else(|| "is no URL of a database".to_owned()))
        })?;
        let hosts = config.get_hosts();
        if hosts.is_empty() && config.get_hostaddrs().is_empty() {
            return refused("names no host");
        }
        let leaves = !hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        let (mode, trust) = encryption(mode, root, folder)?;
        // A socket of this machine is not encrypted, whatever is asked for.
        config.ssl_mode(if leaves || hosts.is_empty() {
            mode
        } else {
            SslMode::Disable
        });
        Ok(Self {
            config,
            trust,
            readers: READERS,
        })
    }

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

fn refused<T>(why: &str) -> Result<T, UrlError> {
    Err(UrlError(why.to_owned()))
}

/// As libpq understands the two, but for `prefer` and `disable`, which have no use for authorities.
fn encryption(
    mode: Option<&str>,
    root: Option<&str>,
    folder: &Path,
) -> Result<(SslMode, Trust), UrlError> {
    // Who names an authority wants it asked.
    let mode = mode.unwrap_or(if root.is_some() {
        "verify-full"
    } else {
        "prefer"
    });
    match (mode, root) {
        ("disable", None) => Ok((SslMode::Disable, Trust::Anybody)),
        ("prefer", None) => Ok((SslMode::Prefer, Trust::Anybody)),
        ("disable" | "prefer", Some(_)) => refused(
            "names an sslrootcert that would not be asked: say sslmode=verify-full beside it",
        ),
        ("require", None) => Ok((SslMode::Require, Trust::Anybody)),
        ("verify-full", None | Some("system")) => Ok((SslMode::Require, Trust::System)),
        ("verify-full", Some(file)) => {
            Ok((SslMode::Require, Trust::Named(authorities(file, folder)?)))
        }
        ("require" | "verify-ca", Some("system")) => refused(
            "trusts whomever an authority of the system vouches for, which is anybody: say sslmode=verify-full",
        ),
        ("require" | "verify-ca", Some(file)) => Ok((
            SslMode::Require,
            Trust::Authorities(authorities(file, folder)?),
        )),
        ("verify-ca", None) => refused("must name an sslrootcert for sslmode=verify-ca"),
        _ => refused(
            "has an sslmode that is none of disable, prefer, require, verify-ca and verify-full",
        ),
    }
}

fn authorities(file: &str, folder: &Path) -> Result<Arc<RootCertStore>, UrlError> {
    let Some(file) = decoded(file) else {
        return refused("has an sslrootcert that is no text");
    };
    let path = folder.join(file);
    let failed =
        |why: &dyn fmt::Display| UrlError(format!("has an sslrootcert, {}: {why}", path.display()));
    let text = std::fs::read(&path).map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() {
        return Err(failed(&"there is no certificate in it"));
    }
    Ok(Arc::new(roots))
}

/// What is written %2F is a slash.
fn decoded(text: &str) -> Option<String> {
    let mut pieces = text.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend(piece.get(2..)?.bytes());
    }
    String::from_utf8(bytes).ok()
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
            (
                "postgres://db/vydra?sslmode=allow",
                "none of disable, prefer",
            ),
            (
                "postgres://db/vydra?sslmode=verify-ca",
                "must name an sslrootcert",
            ),
            (
                "postgres://db/vydra?sslmode=require&sslrootcert=system",
                "verify-full",
            ),
            (
                "postgres://db/vydra?sslmode=prefer&sslrootcert=ca.pem",
                "verify-full",
            ),
            (
                "postgres://db/vydra?sslrootcert=/nowhere%2Fca.pem",
                "/nowhere/ca.pem: No such file",
            ),
            ("postgres://db/vydra?sslrootcert=%FF", "no text"),
            ("postgres://db/vydra?sslrootcert=%2", "no text"),
            (
                "postgres://db/vydra?sslrootcert=Cargo.toml",
                "no certificate in it",
            ),
        ] {
            let refused = url.parse::<PostgresSettings>().unwrap_err().to_string();
            assert!(refused.contains(why), "{url}: {refused}");
            assert!(!refused.contains("ter2"), "{url}: {refused}");
        }
    }

    #[test]
    fn what_is_encrypted_is_as_the_url_says() {
        for (query, mode) in [
            ("", SslMode::Prefer),
            ("?sslmode=disable", SslMode::Disable),
            ("?sslmode=require&connect_timeout=3", SslMode::Require),
            ("?connect_timeout=3&sslmode=verify-full", SslMode::Require),
            ("?sslrootcert=system", SslMode::Require),
        ] {
            let url = format!("postgres://db/vydra{query}");
            let settings: PostgresSettings = url.parse().unwrap();
            assert_eq!(settings.config.get_ssl_mode(), mode, "{query}");
            assert_eq!(
                matches!(settings.trust, Trust::System),
                query.contains("verify-full") || query.contains("system"),
                "{query}"
            );
        }
        let socket = "postgres:///vydra?host=/run/postgresql&sslmode=verify-full";
        let settings: PostgresSettings = socket.parse().unwrap();
        assert_eq!(settings.config.get_ssl_mode(), SslMode::Disable);
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
