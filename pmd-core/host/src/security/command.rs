//! Whom the processes of a command talk to: what its options and its environment say, for as long as the process lives.
//!
//! `kv` and `af` declare `--key-file` and `--data-encryption`, hand them over in `main` ([`SecurityOptions::apply`]), and
//! configure every endpoint with [`security`]. Processes that they start are told by their environment ([`variables`]), in
//! which nobody else sees them as in a command line.

use std::sync::OnceLock;

use super::Security;
use crate::environment::{
    DATA_ENCRYPTION_VARIABLE, EnvironmentError, KEY_FILE_VARIABLE, security_of, variable,
};

/// What the options and the environment said.
static SECURITY: OnceLock<Security> = OnceLock::new();
/// The options as the environment of processes that are started.
static VARIABLES: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();

/// What was given on the command line; it goes before the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityOptions {
    /// `--key-file`: file of the key, else `PMD_KEY_FILE`.
    pub key_file: Option<String>,
    /// `--data-encryption`: with a key, whether data over TCP is encrypted, `on` or `off`, else `PMD_DATA_ENCRYPTION`.
    pub data_encryption: Option<String>,
}

impl SecurityOptions {
    /// Reads the key. To be called once, before anything else is asked here; what a later call says is not heard.
    ///
    /// # Errors
    /// [`EnvironmentError`]: an option or a variable that cannot be, or a key file that gives no key.
    pub fn apply(self) -> Result<(), EnvironmentError> {
        let given = self.variables();
        let security = read(&given, variable)?;
        let _ = (SECURITY.set(security), VARIABLES.set(given));
        Ok(())
    }

    fn variables(self) -> Vec<(&'static str, String)> {
        let all = [(KEY_FILE_VARIABLE, self.key_file), (DATA_ENCRYPTION_VARIABLE, self.data_encryption)];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// What was given goes before the `environment`.
fn read(
    given: &[(&'static str, String)],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Security, EnvironmentError> {
    let option = |name: &str| given.iter().find(|(given, _)| *given == name).map(|(_, value)| value.clone());
    security_of(|name| option(name).or_else(|| environment(name)))
}

/// Whom this process talks to: everybody, before [`SecurityOptions::apply`].
#[must_use]
pub fn security() -> Security {
    SECURITY.get().cloned().unwrap_or_default()
}

/// What a process that is started must find in its environment to talk to the same.
pub fn variables() -> impl Iterator<Item = (&'static str, String)> {
    VARIABLES.get().into_iter().flatten().cloned()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::security::tests::key;

    #[test]
    fn options_go_before_the_environment_and_are_handed_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let file_of = |byte: u8| {
            let path = folder.path().join(byte.to_string());
            fs::write(&path, format!("{byte:02x}").repeat(32)).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
            path.to_str().expect("text").to_owned()
        };
        let (one, two) = (file_of(1), file_of(2));
        let environment = |name: &str| match name {
            KEY_FILE_VARIABLE => Some(two.clone()),
            DATA_ENCRYPTION_VARIABLE => Some("off".to_owned()),
            _ => None,
        };
        let none = SecurityOptions::default().variables();
        assert_eq!(none, []);
        assert_eq!(read(&none, |_| None), Ok(Security::default()));
        let of_environment = Security { key: Some(key(2)), seal_data: false };
        assert_eq!(read(&none, environment), Ok(of_environment));
        let given = SecurityOptions { key_file: Some(one.clone()), data_encryption: Some("on".into()) };
        let given = given.variables();
        assert_eq!(given, [(KEY_FILE_VARIABLE, one), (DATA_ENCRYPTION_VARIABLE, "on".to_owned())]);
        assert_eq!(read(&given, environment), Ok(Security::with_key(key(1))));
    }

    #[test]
    fn what_gives_no_key_is_an_error_and_changes_nothing() {
        let wrong = SecurityOptions { key_file: Some("/nowhere/key".into()), ..SecurityOptions::default() };
        assert_eq!(wrong.apply().expect_err("there is no file").variable, KEY_FILE_VARIABLE);
        let wrong = SecurityOptions { data_encryption: Some("yes".into()), ..SecurityOptions::default() };
        assert_eq!(wrong.apply().expect_err("neither on nor off").variable, DATA_ENCRYPTION_VARIABLE);
        assert_eq!((security(), variables().count()), (Security::default(), 0));
    }
}
