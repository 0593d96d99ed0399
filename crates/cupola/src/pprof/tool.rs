//! The tool that profiles are made for, for tests.

/// What `go tool pprof` says of a profile; nothing where there is no Go.
pub(super) fn opened(profile: &[u8], arguments: &[&str]) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile.pb.gz");
    std::fs::write(&file, profile).unwrap();
    let tool = std::process::Command::new("go")
        .args(["tool", "pprof"])
        .args(arguments)
        .arg(&file)
        .output();
    match tool {
        Ok(output) => {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            println!("skipped: there is no Go to open profiles with: {error}");
            None
        }
    }
}
