//! What records say of the file that they come from.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::config::FilelogConfig;
use super::content::Content;
use crate::operators::Fields;

/// What cannot be found out is left out.
pub(super) fn of(content: Option<&Content>, path: &Path, config: &FilelogConfig) -> Fields {
    let mut fields = Fields::default();
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    if config.include_file_name {
        fields.set("log.file.name", name(path));
    }
    if config.include_file_path {
        fields.set("log.file.path", path.to_string_lossy().into_owned());
    }
    if let Some(metadata) = content.and_then(|content| content.metadata().ok()) {
        if config.include_file_owner_name
            && let Some(owner) = name_of(metadata.uid(), "/etc/passwd")
        {
            fields.set("log.file.owner.name", owner);
        }
        if config.include_file_owner_group_name
            && let Some(group) = name_of(metadata.gid(), "/etc/group")
        {
            fields.set("log.file.owner.group.name", group);
        }
        if config.include_file_permissions {
            fields.set(
                "log.file.permissions",
                format!("{:03o}", metadata.permissions().mode() & 0o777),
            );
        }
    }
    let resolves = config.include_file_name_resolved || config.include_file_path_resolved;
    if let Some(resolved) = resolves.then(|| fs::canonicalize(path).ok()).flatten() {
        if config.include_file_name_resolved {
            fields.set("log.file.name_resolved", name(&resolved));
        }
        if config.include_file_path_resolved {
            fields.set("log.file.path_resolved", resolved.to_string_lossy().into_owned());
        }
    }
    fields
}

/// The name of a user or a group: users of other sources than these files have none here.
fn name_of(id: u32, database: &str) -> Option<String> {
    let text = fs::read_to_string(database).ok()?;
    let line = text
        .lines()
        .find(|line| line.split(':').nth(2).and_then(|field| field.parse().ok()) == Some(id))?;
    line.split(':').next().map(str::to_owned)
}
