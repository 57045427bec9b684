//! How the device behaves, by the command line; the variables that tell the preloaded library.

use std::ffi::OsString;

use clap::{Args, builder::PossibleValuesParser};
use connectx::config;
use connectx::fault::Plan;

use super::error::ConnectxError;

/// Each setting's first value is the default.
const MODES: [&str; 3] = ["trap", "step", "thread"];
const LINKS: [&str; 2] = ["ib", "roce"];
const UARS: [&str; 2] = ["dynamic", "static"];
const LINTS: [&str; 2] = ["abort", "report"];
const INTERFACES: [&str; 2] = ["ioctl", "write"];
const DEVICE_MEMORIES: [&str; 3] = ["none", "dma-buf", "peer"];

/// The settings.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// How the device sees doorbells: every store as it happens, when ibv_poll_cq is called, or by a thread.
    #[arg(long, value_parser = PossibleValuesParser::new(MODES), default_value = MODES[0])]
    pub(crate) mode: String,
    /// Link layer of the port.
    #[arg(long, value_parser = PossibleValuesParser::new(LINKS), default_value = LINKS[0])]
    pub(crate) link: String,
    /// UAR pages: objects of their own, as today's kernels have them (default), or part of the context.
    #[arg(long, value_parser = PossibleValuesParser::new(UARS))]
    pub(crate) uar: Option<String>,
    /// What a broken rule of the hardware does to the process that broke it. Both fail the command.
    #[arg(long, value_parser = PossibleValuesParser::new(LINTS), default_value = LINTS[0])]
    pub(crate) lint: String,
    /// How the library talks to the kernel.
    #[arg(long, value_parser = PossibleValuesParser::new(INTERFACES), default_value = INTERFACES[0])]
    pub(crate) interface: String,
    /// Faults to inject, a list with commas, for instance drop-cqe@100,syndrome=0x15@7: the documentation of
    /// connectx::fault has the grammar.
    #[arg(long, default_value = "")]
    pub(crate) faults: String,
    /// Scatters small receives into their CQEs where a queue pair asks for it, as libmlx5 does.
    #[arg(long)]
    pub(crate) scatter_to_cqe: bool,
    /// How it reaches memory of an accelerator whose runtime is a stand-in (the command `accelerators`): not at all, by a
    /// dma-buf that the runtime exports, or by its address (peer memory).
    #[arg(long, value_parser = PossibleValuesParser::new(DEVICE_MEMORIES), default_value = DEVICE_MEMORIES[0])]
    pub(crate) device_memory: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: MODES[0].to_owned(),
            link: LINKS[0].to_owned(),
            uar: None,
            lint: LINTS[0].to_owned(),
            interface: INTERFACES[0].to_owned(),
            faults: String::new(),
            scatter_to_cqe: false,
            device_memory: DEVICE_MEMORIES[0].to_owned(),
        }
    }
}

impl Settings {
    /// Whether it is understood, and can be had at once: UAR objects are made by ioctl.
    ///
    /// # Errors
    /// [`ConnectxError`] names what cannot.
    pub(crate) fn check(&self) -> Result<(), ConnectxError> {
        if self.interface == "write" && self.uar.as_deref() == Some("dynamic") {
            return Err(ConnectxError::Contradiction("--uar dynamic", "--interface write"));
        }
        Plan::parse(&self.faults)?;
        Ok(())
    }

    /// The variables that say so.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let uar = self.uar.as_deref().unwrap_or(if self.interface == "write" { "static" } else { UARS[0] });
        let pairs = [
            (config::MODE, self.mode.as_str()),
            (config::LINK, &self.link),
            (config::UAR, uar),
            (config::LINT, &self.lint),
            (config::INTERFACE, &self.interface),
            (config::FAULTS, &self.faults),
            (config::SCATTER, if self.scatter_to_cqe { "on" } else { "off" }),
            (config::DEVICE_MEMORY, &self.device_memory),
        ];
        pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use connectx::config::{Config, DeviceMemory, Link, Mode};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn parsed(words: &[&str]) -> Result<Settings, clap::Error> {
        Line::try_parse_from([&["connectx"], words].concat()).map(|line| line.settings)
    }

    /// As the preloaded library reads it.
    fn config(settings: &Settings) -> Config {
        let mut variables = settings.environment();
        variables.push((config::STATE.into(), "/state".into()));
        let lookup = |name: &str| {
            variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
        };
        Config::from_lookup(lookup).expect("understood").expect("a device")
    }

    #[test]
    fn the_library_understands_every_setting() {
        let settings = parsed(&["--mode", "step", "--link", "roce", "--uar", "static", "--scatter-to-cqe"]);
        let config = config(&settings.expect("known"));
        for (word, reached) in
            DEVICE_MEMORIES.into_iter().zip([DeviceMemory::None, DeviceMemory::DmaBuf, DeviceMemory::Peer])
        {
            let settings = parsed(&["--device-memory", word]).expect("known");
            assert_eq!(self::config(&settings).device_memory, reached);
        }
        assert_eq!((config.mode, config.link), (Mode::Step, Link::Ethernet));
        assert!(!config.dynamic_uars && config.scatter_to_cqe && config.ioctl);
    }

    #[test]
    fn defaults_are_the_same_with_and_without_a_command_line() {
        let config_of = |settings: &Settings| format!("{:?}", config(settings));
        assert_eq!(config_of(&parsed(&[]).expect("nothing to refuse")), config_of(&Settings::default()));
    }

    #[test]
    fn a_value_that_is_not_known_is_wrong_usage() {
        let refused = parsed(&["--mode", "fast"]).expect_err("not a mode");
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("trap, step, thread"), "{refused}");
    }

    #[test]
    fn faults_that_are_not_understood_are_wrong_usage() {
        let settings = parsed(&["--faults", "drop-cqe@7,syndrome=0x15@9"]).expect("a text");
        assert!(settings.check().is_ok());
        let error = parsed(&["--faults", "lightning@7"]).expect("a text").check().expect_err("not a fault");
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("lightning"), "{error}");
    }

    #[test]
    fn register_objects_need_ioctls() {
        let settings = parsed(&["--interface", "write", "--uar", "dynamic"]).expect("each is known");
        assert_eq!(settings.check().map_err(|error| error.exit_code()), Err(2));
        let settings = parsed(&["--interface", "write"]).expect("known");
        assert!(settings.check().is_ok() && !config(&settings).dynamic_uars);
    }
}
