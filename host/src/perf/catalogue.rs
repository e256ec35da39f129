//! Which tracepoints this kernel has, under which ids, and where their fields stand.

use super::{Layout, Point};
use crate::error::Malformed;
use crate::{Error, Root, if_present, text};

/// Where tracefs is mounted (systemd mounts it there on first use).
const EVENTS: &str = "/sys/kernel/tracing/events";

/// A tracepoint that this kernel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub point: Point,
    /// Its id in this boot.
    pub id: u64,
    /// Where its fields stand.
    pub layout: Layout,
}

/// The fixed set, as far as this kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    /// What there is, in the order of the points' numbers.
    pub found: Vec<Found>,
    /// What there is not, as in `irq_vectors:irq_work_entry`, each with its reason.
    pub absent: Vec<String>,
}

impl Catalogue {
    /// Reads tracefs.
    ///
    /// # Errors
    /// [`Error::Absent`] when tracefs is not mounted, [`Error::Read`] without the right to look into it.
    pub fn read(root: &Root) -> Result<Self, Error> {
        root.list(EVENTS)?;
        let mut catalogue = Self::default();
        for point in Point::ALL {
            let (group, name) = point.path();
            match if_present(read_point(root, point))? {
                Some(Ok(found)) => catalogue.found.push(found),
                Some(Err(problem)) => catalogue.absent.push(format!("{group}:{name} ({problem})")),
                None => catalogue.absent.push(format!("{group}:{name} (not in this kernel)")),
            }
        }
        Ok(catalogue)
    }
}

/// One tracepoint; the inner error is a form of it that is not understood, which costs only this point.
fn read_point(root: &Root, point: Point) -> Result<Result<Found, String>, Error> {
    let (group, name) = point.path();
    let id = root.parse(&format!("{EVENTS}/{group}/{name}/id"), text::number)?;
    let format = root.read(&format!("{EVENTS}/{group}/{name}/format"))?;
    Ok(layout(point, &format).map(|layout| Found { point, id, layout }).map_err(|problem| problem.problem))
}

fn layout(point: Point, format: &str) -> Result<Layout, Malformed> {
    let (number, name) = point.fields();
    let name_bytes = if point.points_to_name() { 4 } else { 16 };
    Ok(Layout {
        number: number.map(|field| offset(format, field, 4)).transpose()?,
        name: name.map(|field| offset(format, field, name_bytes)).transpose()?,
    })
}

/// Where `field` stands, if it has the size that is known of it.
// Format: "\tfield:char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;"   (Documentation/trace/events.rst, 3.)
fn offset(format: &str, field: &str, size: u16) -> Result<u16, Malformed> {
    let missing = || Malformed::new(field, format!("its field {field} is not as it is known"));
    let line = format.lines().find(|line| declares(line, field)).ok_or_else(missing)?;
    let value = |key: &str| -> Option<u16> {
        line.split(';').find_map(|part| part.trim().strip_prefix(key))?.parse().ok()
    };
    match (value("offset:"), value("size:")) {
        (Some(offset), Some(bytes)) if bytes == size => Ok(offset),
        _ => Err(missing()),
    }
}

fn declares(line: &str, field: &str) -> bool {
    let declaration = line.trim().strip_prefix("field:").and_then(|rest| rest.split(';').next());
    let last = declaration.and_then(|words| words.split_whitespace().last());
    last.is_some_and(|word| word.split('[').next() == Some(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    // From a 6.18 kernel.
    const SWITCH: &str = "name: sched_switch\nID: 372\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;\n\
        \tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;\n\
        \tfield:char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;\n\
        \tfield:pid_t next_pid;\toffset:56;\tsize:4;\tsigned:1;\n\n\
        print fmt: \"next_comm=%s\", REC->next_comm\n";
    const IRQ: &str = "format:\n\tfield:int irq;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] name;\toffset:12;\tsize:4;\tsigned:0;\n";

    #[track_caller]
    fn check(point: Point, format: &str, expected: Result<(Option<u16>, Option<u16>), &str>) {
        let got = layout(point, format).map(|layout| (layout.number, layout.name));
        assert_eq!(got.map_err(|problem| problem.problem), expected.map_err(str::to_owned));
    }

    #[test]
    fn fields_are_found_where_the_kernel_says() {
        check(Point::Switch, SWITCH, Ok((Some(56), Some(40))));
        check(Point::IrqEntry, IRQ, Ok((Some(8), Some(12))));
        check(Point::TimerEntry, "", Ok((None, None))); // nothing is read of it
        check(
            Point::Switch,
            &SWITCH.replace("size:16", "size:20"),
            Err("its field next_comm is not as it is known"),
        );
        check(
            Point::Switch,
            &SWITCH.replace("next_pid", "pid"),
            Err("its field next_pid is not as it is known"),
        );
        check(Point::IrqExit, "", Err("its field irq is not as it is known"));
    }
}
