//! A file system of a test's own that is small enough to be filled in a moment.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::Missing;

/// Unmounted at the end.
#[derive(Debug)]
pub struct SmallDisk {
    directory: TempDir,
    /// Files that take the room.
    ballast: Vec<PathBuf>,
}

impl SmallDisk {
    /// One of a size such as `24m`, where mounting is allowed.
    pub fn mount(size: &str) -> Result<SmallDisk, Missing> {
        let failed = |error: std::io::Error| format!("a small file system cannot be mounted here: {error}");
        let directory = tempfile::tempdir().map_err(failed)?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(directory.path())
            .output()
            .map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "a small file system cannot be mounted here: {}",
                said.trim()
            ));
        }
        Ok(SmallDisk {
            directory,
            ballast: Vec::new(),
        })
    }

    pub fn path(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Takes all the space that is left.
    pub fn fill(&mut self) -> std::io::Result<()> {
        let path = self.path().join(format!("ballast-{}", self.ballast.len()));
        let mut file = File::create(&path)?;
        self.ballast.push(path);
        let block = vec![0_u8; 64 * 1024];
        while file.write_all(&block).is_ok() {}
        // What is less than a block.
        while file.write_all(&[0]).is_ok() {}
        Ok(())
    }

    pub fn is_filled(&self) -> bool {
        !self.ballast.is_empty()
    }

    /// Gives it all back.
    pub fn free(&mut self) -> std::io::Result<()> {
        self.ballast.drain(..).try_for_each(std::fs::remove_file)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
