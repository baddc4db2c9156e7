//! Shows the paths of a kubeconfig. A field that should be a path may contain a token or a key by mistake.

use std::path::Path;

/// The most characters of a path that is shown although it does not exist.
const LONGEST: usize = 255;

/// Returns a path as far as it exists, and only the length of the rest. kube makes paths absolute, so a token looks like the
/// name of a file in the kubeconfig's folder.
pub(super) fn shown(path: &Path) -> String {
    let exists = |path: &&Path| path.try_exists().unwrap_or_default();
    let Some(known) = path.ancestors().find(exists) else {
        return format!("with a name of {} characters", length(path));
    };
    match path.strip_prefix(known) {
        Ok(rest) if rest != Path::new("") => {
            let length = length(rest);
            format!("in {}, with a name of {length} characters", known.display())
        }
        _ => path.display().to_string(),
    }
}

/// Returns the path of a kubeconfig. If it is longer than a path is, it may be the text of a kubeconfig.
pub(super) fn named(path: &Path) -> String {
    if length(path) > LONGEST {
        shown(path)
    } else {
        path.display().to_string()
    }
}

fn length(path: &Path) -> usize {
    path.to_string_lossy().chars().count()
}
