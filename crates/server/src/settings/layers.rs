//! Where settings come from, the strongest first: flags, environment, file, defaults.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::settings::suggest::closest;
use crate::settings::{DEFINITIONS, Definition, OTHER_VARIABLES, SettingsError};

/// Which layer a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A command line flag.
    Flag,
    /// An environment variable.
    Environment,
    /// The settings file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl Origin {
    /// One word, for scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Origin::Flag => "flag",
            Origin::Environment => "environment",
            Origin::File(_) => "file",
            Origin::Default => "default",
        }
    }

    /// How a user would find the place where `key` was set.
    pub fn place(&self, key: &str) -> String {
        let definition = Definition::of(key);
        match self {
            Origin::Flag => definition.map_or_else(|| key.to_owned(), Definition::flag),
            Origin::Environment => definition.map_or_else(|| key.to_owned(), Definition::variable),
            Origin::File(path) => format!("`{key}` in {}", path.display()),
            Origin::Default => format!("the default of `{key}`"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            _ => f.write_str(self.name()),
        }
    }
}

/// Values of one origin, as text, by key. Keys are known ones only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Where they came from.
    pub origin: Origin,
    /// The values.
    pub values: BTreeMap<String, String>,
}

impl Layer {
    /// Values of flags.
    pub fn of_flags(values: BTreeMap<String, String>) -> Layer {
        Layer { origin: Origin::Flag, values }
    }

    /// Values of environment variables. An unknown `STRATA_*` variable is an error: it is a typo far more often than
    /// not. The ones that Kubernetes sets for a service called `strata` are let through. Only settings must be text.
    pub fn of_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Layer, SettingsError> {
        let mut values = BTreeMap::new();
        for (name, value) in variables {
            // What is no text is not the name of a setting either.
            let name = name.to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix("STRATA_") else { continue };
            if OTHER_VARIABLES.contains(&name.as_str()) || is_service_link(rest) {
                continue;
            }
            let key = rest.to_lowercase();
            if Definition::of(&key).is_none() || name != name.to_uppercase() {
                let known: Vec<String> = DEFINITIONS.iter().map(Definition::variable).collect();
                let known = known.iter().map(String::as_str).chain(OTHER_VARIABLES.iter().copied());
                let suggestion = closest(&name, known).map(str::to_owned);
                return Err(SettingsError::Unknown { name, place: "the environment".to_owned(), suggestion });
            }
            let value = value.into_string().map_err(|value| SettingsError::Invalid {
                place: Origin::Environment.place(&key),
                detail: format!("expected text in UTF-8, but found `{}`", value.to_string_lossy()),
            })?;
            values.insert(key, value);
        }
        Ok(Layer { origin: Origin::Environment, values })
    }

    /// Values of a settings file.
    pub fn of_file(path: &Path, text: &str) -> Result<Layer, SettingsError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| SettingsError::Syntax {
            path: path.to_owned(),
            detail: error.to_string().trim_end().to_owned(),
        })?;
        let mut values = BTreeMap::new();
        for (key, value) in table {
            if Definition::of(&key).is_none() {
                let suggestion = closest(&key, DEFINITIONS.iter().map(|definition| definition.key)).map(str::to_owned);
                return Err(SettingsError::Unknown { name: key, place: path.display().to_string(), suggestion });
            }
            let text = text_of(&value).ok_or_else(|| SettingsError::Invalid {
                place: Origin::File(path.to_owned()).place(&key),
                detail: format!("expected a string, a number, true, false or a list, but found `{value}`"),
            })?;
            values.insert(key, text);
        }
        Ok(Layer { origin: Origin::File(path.to_owned()), values })
    }

    /// What applies when nobody says anything.
    pub fn of_defaults() -> Layer {
        let values = DEFINITIONS.iter().map(|row| (row.key.to_owned(), row.default.to_owned())).collect();
        Layer { origin: Origin::Default, values }
    }
}

fn text_of(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(switch) => Some(switch.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(text_of).collect();
            items.map(|items| items.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// `STRATA_SERVICE_HOST`, `STRATA_PORT_7400_TCP_ADDR` and the like.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest.contains("SERVICE_HOST") || rest.contains("SERVICE_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Layer, SettingsError> {
        Layer::of_environment(pairs.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_an_error_only_in_settings() {
        use std::os::unix::ffi::OsStringExt;
        let of = |name: &[u8]| {
            let pair = (OsString::from_vec(name.to_vec()), OsString::from_vec(b"caf\xe9".to_vec()));
            Layer::of_environment([pair])
        };
        for other in [&b"LC_\xff"[..], b"HOME", b"STRATA_CONFIG"] {
            assert_eq!(of(other).expect("not a setting").values, BTreeMap::new());
        }
        let error = of(b"STRATA_ZONE").expect_err("no text").to_string();
        assert_eq!(error, "STRATA_ZONE: expected text in UTF-8, but found `caf\u{fffd}`");
        let error = of(b"STRATA_\xff").expect_err("no name").to_string();
        assert!(error.starts_with("unknown setting in the environment: name=`STRATA_\u{fffd}`"), "{error}");
    }

    #[test]
    fn the_environment_is_read_and_typos_are_found() {
        let layer = environment(&[("HOME", "x"), ("STRATA_EXPECT", "3"), ("STRATA_LOG", "debug")]).expect("known");
        assert_eq!(layer.values, BTreeMap::from([("expect".to_owned(), "3".to_owned())]));
        let error = environment(&[("STRATA_EXPCT", "3")]).expect_err("a typo");
        assert_eq!(
            error.to_string(),
            "unknown setting in the environment: name=`STRATA_EXPCT` did_you_mean=`STRATA_EXPECT`"
        );
        environment(&[("STRATA_SERVICE_HOST", "10.0.0.1"), ("STRATA_PORT", "tcp://10.0.0.1:7400")])
            .expect("variables of Kubernetes are let through");
    }

    #[test]
    fn a_file_is_read_and_typos_are_found() {
        let path = Path::new("strata.toml");
        let text = "expect = 3\njoin = [\"a:1\", \"b:1\"]\ninsecure = true\nlog_segment = \"1MiB\"\n";
        let layer = Layer::of_file(path, text).expect("valid");
        assert_eq!(layer.values["join"], "a:1,b:1");
        assert_eq!(layer.values["expect"], "3");
        assert_eq!(layer.values["insecure"], "true");
        let error = Layer::of_file(path, "lisen = \":1\"").expect_err("a typo");
        assert_eq!(error.to_string(), "unknown setting in strata.toml: name=`lisen` did_you_mean=`listen`");
        assert!(matches!(Layer::of_file(path, "expect = "), Err(SettingsError::Syntax { .. })));
        assert!(matches!(Layer::of_file(path, "[expect]\na = 1"), Err(SettingsError::Invalid { .. })));
    }
}
