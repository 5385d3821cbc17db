//! Settings of a server from flags, environment and file, by one rule.

#[cfg(feature = "settings-file")]
mod file;
mod keys;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use self::keys::Key;
use crate::{Address, Limits, Name};

/// The settings of a server, each with where it came from.
///
/// A flag wins over the environment, the environment over a file, a file over the default, in whatever order they are
/// read. A value that another one wins over is not looked at.
///
/// ```
/// use extproc::{Noop, Server, Settings};
///
/// # fn f() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::from_env()?; // GRPC_PORT, SHUTDOWN_GRACE_PERIOD, ..
/// let server = Server::new(Noop).settings(&settings)?;
/// # Ok(())
/// # }
/// ```
///
/// `docs/serving.md` lists them all; so does [`Settings::keys`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    values: Values,
    origins: BTreeMap<&'static str, Origin>,
}

/// What the settings say. Those without a default are none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is told by its key")]
pub struct Values {
    pub listen: Option<Address>,
    pub port: u16,
    pub grace_period: Duration,
    pub drain_delay: Duration,
    pub limits: Limits,
    pub reflection: bool,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub tls_client_ca: Option<PathBuf>,
    pub tls_client_optional: bool,
    pub tls_reload_interval: Duration,
    pub reveal_chain: Option<bool>,
    pub applied_header: Option<Name>,
    pub log_level: Option<String>,
}

/// Where a setting came from. The later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// A place in a file, as `file:line:column`.
    File(String),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingError {
    /// A value is wrong.
    #[error("{origin}: {value:?} is no value for {key}: {problem}")]
    Value {
        /// Where it stands.
        origin: Origin,
        /// What it is for.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What should.
        problem: String,
    },
    /// A file cannot be read, or is not what it should be; `file:line:column: what is wrong`.
    #[error("{0}")]
    File(String),
    /// One setting needs another.
    #[error("{0}")]
    Together(String),
}

impl Default for Values {
    fn default() -> Self {
        Self {
            listen: None,
            port: 50051,
            grace_period: Duration::from_secs(5),
            drain_delay: Duration::ZERO,
            limits: Limits::default(),
            reflection: false,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            tls_client_optional: false,
            tls_reload_interval: Duration::from_secs(10),
            reveal_chain: None,
            applied_header: None,
            log_level: None,
        }
    }
}

impl Settings {
    /// The defaults, under what the environment says.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub fn from_env() -> Result<Self, SettingError> {
        let mut settings = Self::default();
        settings.read_env(|name| std::env::var(name).ok())?;
        Ok(settings)
    }

    /// Takes what the environment says, as `variable` gives it.
    ///
    /// # Errors
    /// The first variable that cannot be used.
    pub fn read_env(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), SettingError> {
        for key in Key::ALL {
            let name = key.variable();
            if let Some(value) = variable(&name) {
                self.set(key, &value, Origin::Environment(name))?;
            }
        }
        Ok(())
    }

    /// Takes what a YAML file says: a map of keys and values. Feature `settings-file`.
    ///
    /// # Errors
    /// `file:line:column: what is wrong`, with the nearest known key for one that is not known.
    #[cfg(feature = "settings-file")]
    pub fn read_file(&mut self, path: impl AsRef<std::path::Path>) -> Result<(), SettingError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| SettingError::File(format!("{}: cannot be read: {error}", path.display())))?;
        file::read(self, &path.display().to_string(), &text)
    }

    /// Takes one value, unless one that wins over it is there.
    ///
    /// # Errors
    /// The value cannot be used.
    pub fn set(&mut self, key: &Key, value: &str, origin: Origin) -> Result<(), SettingError> {
        if self.origins.get(key.name).is_some_and(|current| current.rank() > origin.rank()) {
            return Ok(());
        }
        (key.set)(&mut self.values, value.trim()).map_err(|problem| SettingError::Value {
            origin: origin.clone(),
            key: key.name,
            value: value.to_owned(),
            problem,
        })?;
        self.origins.insert(key.name, origin);
        Ok(())
    }

    /// What they say.
    #[must_use]
    pub const fn values(&self) -> &Values {
        &self.values
    }

    /// Where one came from.
    #[must_use]
    pub fn origin(&self, key: &Key) -> &Origin {
        const DEFAULT: &Origin = &Origin::Default;
        self.origins.get(key.name).unwrap_or(DEFAULT)
    }

    /// All that there are, in the order of the documents.
    #[must_use]
    pub const fn keys() -> &'static [Key] {
        Key::ALL
    }

    /// Where to listen: `listen`, else all interfaces at `port`, IPv6 and IPv4 where the host has both.
    #[must_use]
    pub fn address(&self) -> Address {
        let port = match &self.values.listen {
            None => self.values.port.to_string(),
            Some(Address::Tcp(text)) if text.starts_with(':') => text[1..].to_owned(),
            Some(address) => return address.clone(),
        };
        // IPv6 sockets take IPv4 too.
        let all = if std::net::TcpListener::bind(("::", 0)).is_ok() { "[::]" } else { "0.0.0.0" };
        Address::Tcp(format!("{all}:{port}"))
    }

    /// The files for TLS, if there are any.
    ///
    /// # Errors
    /// [`SettingError::Together`]: a certificate without its key, or the like.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Result<Option<crate::Tls>, SettingError> {
        let Values { tls_certificate, tls_key, tls_client_ca, tls_client_optional, tls_reload_interval, .. } =
            &self.values;
        let needs = |what: &str, other: &str| {
            SettingError::Together(format!("{what} is set, but {other} is not; TLS needs both"))
        };
        match (tls_certificate, tls_key) {
            (None, None) if tls_client_ca.is_some() => Err(needs("tls_client_ca", "tls_certificate")),
            (None, None) => Ok(None),
            (Some(_), None) => Err(needs("tls_certificate", "tls_key")),
            (None, Some(_)) => Err(needs("tls_key", "tls_certificate")),
            (Some(certificate), Some(key)) => {
                let tls = crate::Tls::new(certificate, key).reload_interval(*tls_reload_interval);
                let tls = tls.client_optional(*tls_client_optional);
                Ok(Some(match tls_client_ca {
                    Some(file) => tls.client_ca(file),
                    None => tls,
                }))
            }
        }
    }
}

/// As a file that says the same, with where each came from.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in Key::ALL {
            let line = match (key.show)(&self.values) {
                Some(value) => format!("{}: {value}", key.name),
                None => format!("# {}:", key.name),
            };
            writeln!(f, "{line:<48} # {}", self.origin(key))?;
        }
        Ok(())
    }
}

impl Origin {
    const fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => f.write_str(place),
            Self::Environment(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> &'static Key {
        Key::ALL.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("no key {name}"))
    }

    #[test]
    fn one_rule_in_whatever_order_they_are_read() {
        let all = [
            (Origin::Flag("port".to_owned()), "1"),
            (Origin::Environment("GRPC_PORT".to_owned()), "2"),
            (Origin::File("a.yaml:1:7".to_owned()), "3"),
        ];
        for first in 0..3 {
            for rest in [[1, 2], [2, 1]] {
                let mut settings = Settings::default();
                for index in [first, (first + rest[0]) % 3, (first + rest[1]) % 3] {
                    let (origin, value) = &all[index];
                    settings.set(key("port"), value, origin.clone()).unwrap();
                }
                assert_eq!((settings.values().port, settings.origin(key("port"))), (1, &all[0].0));
            }
        }
    }

    #[test]
    fn py_060_py_061_py_062_the_variables_of_the_python_sdk() {
        let mut settings = Settings::default();
        let environment = [
            ("GRPC_PORT", "50052"),
            ("SHUTDOWN_GRACE_PERIOD", "0.5"),
            ("LOG_LEVEL", "DEBUG"),
            ("REVEAL_EXTPROC_CHAIN", "no"),
            ("EXTPROCS_APPLIED_HEADER", "x-chain"),
            ("EXTPROC_MAX_MESSAGE", "32MiB"),
        ];
        settings.read_env(|name| environment.iter().find(|it| it.0 == name).map(|it| it.1.to_owned())).unwrap();
        let values = settings.values();
        assert_eq!((values.port, values.grace_period), (50052, Duration::from_millis(500)));
        assert_eq!((values.log_level.as_deref(), values.reveal_chain), (Some("DEBUG"), Some(false)));
        assert_eq!(values.applied_header.as_ref().map(Name::as_str), Some("x-chain"));
        assert_eq!(values.limits.max_message, 32 << 20);
    }

    #[test]
    fn wrong_values_say_where_and_what_to_write() {
        for (name, value, part) in [
            ("port", "x", "0 to 65535"),
            ("port", "70000", "0 to 65535"),
            ("grace_period", "soon", "500ms"),
            ("max_message", "16 pounds", "16MiB"),
            ("max_exchanges", "-1", "number"),
            ("reflection", "perhaps", "true or false"),
            ("applied_header", "a b", "header"),
            ("listen", "nonsense", "HOST:PORT"),
        ] {
            let origin = Origin::Environment(key(name).variable());
            let error = Settings::default().set(key(name), value, origin).unwrap_err().to_string();
            assert!(error.starts_with(&format!("variable {}: ", key(name).variable())), "{error}");
            assert!(error.contains(value) && error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let mut settings = Settings::default();
        for (name, value) in
            [("port", "1"), ("keepalive_interval", "none"), ("max_message", "1000"), ("drain_delay", "1500ms")]
        {
            settings.set(key(name), value, Origin::Flag(name.to_owned())).unwrap();
        }
        let shown = settings.to_string();
        let mut again = Settings::default();
        for line in shown.lines().filter(|line| !line.starts_with('#')) {
            let (line, _) = line.split_once(" # ").unwrap();
            let (name, value) = line.split_once(": ").unwrap();
            again.set(key(name), value, Origin::File("shown".to_owned())).unwrap();
        }
        assert_eq!(again.values(), settings.values(), "{shown}");
        assert!(shown.lines().any(|line| line.starts_with("port: 1 ") && line.ends_with("# flag --port")), "{shown}");
    }
}
