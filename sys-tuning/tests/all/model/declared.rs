//! Files that rows of the registry declare and a capture lacks: a row that is added is tried on every model, without a word
//! said here. Rows whose effect is more than a file that shows the value have to be modelled by hand.

use sys_tuning::registry::{self, Attribute, Home, Kind, Shape, Sign};

use super::Kernel;

/// Adds every such file, with a value that is not the first one anybody would wish for.
pub fn add(kernel: &mut Kernel) {
    // Beside every `run`, and not captured: nothing is shared where nothing was ever merged.
    const SHARED: &str = "/sys/kernel/mm/ksm/pages_sharing";
    if kernel.files.contains_key("/sys/kernel/mm/ksm/run") && !kernel.files.contains_key(SHARED) {
        kernel.put(SHARED, "0\n".to_owned());
    }
    for attribute in attributes() {
        let Some(home) = file(attribute.home) else { continue };
        let shown = match attribute.sign {
            Sign::Itself => None,
            Sign::Shown(path) => Some(path),
            _ => continue,
        };
        let Some(text) = text(attribute) else { continue };
        for path in each(&home).into_iter().chain(shown.map(each).into_iter().flatten()) {
            if !kernel.files.contains_key(&path) && kernel.is_dir(&path).is_none() {
                kernel.put(&path, format!("{text}\n"));
            }
        }
    }
}

/// The file that shows what came of a value written to `path`, where a row declares one.
pub fn shown_by(path: &str) -> Option<String> {
    attributes().find_map(|attribute| {
        let (home, Sign::Shown(shown)) = (file(attribute.home)?, attribute.sign) else { return None };
        let index = each(&home).iter().position(|one| one == path)?;
        each(shown).into_iter().nth(index)
    })
}

fn attributes() -> impl Iterator<Item = &'static Attribute> {
    registry::all().iter().flat_map(|knob| knob.attributes)
}

fn file(home: Home) -> Option<String> {
    match home {
        Home::Sysctl(name) => Some(format!("/proc/sys/{}", name.replace('.', "/"))),
        Home::File(path) | Home::Each(path) => Some(path.to_owned()),
        _ => None,
    }
}

/// The files of a pattern: two of a kind, as every captured machine has two CPUs.
fn each(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let after = rest.split_once('}').map_or("", |(_, after)| after);
    ["0", "1"].iter().map(|number| format!("{before}{number}{after}")).collect()
}

fn text(attribute: &Attribute) -> Option<String> {
    Some(match (attribute.kind, attribute.shape) {
        (Kind::Integer { max, .. }, _) => max.min(50).to_string(),
        (Kind::Choice(words), Shape::Bracketed) => {
            let (last, before) = words.split_last()?;
            format!("{} [{last}]", before.join(" ")).trim_start().to_owned()
        }
        (Kind::Choice(words), _) => (*words.last()?).to_owned(),
        (Kind::Flag, Shape::YesNo) => "Y".to_owned(),
        (Kind::Flag, _) => "1".to_owned(),
        (Kind::Cpus, Shape::Mask) => "3".to_owned(),
        (Kind::Cpus, Shape::Plain) => "0-1".to_owned(),
        _ => return None,
    })
}
