//! The knobs, one file each: what is declared about it, what a profile's values come to, and where its cells stand.
//!
//! A knob only plans; nothing here reads or writes a file. Ids, values and sources are those of the guides named in each
//! `source`.

pub(crate) mod boot_line;
pub(crate) mod cpuset1;
pub(crate) mod cpuset2;
pub(crate) mod dirty;
pub(crate) mod fairserver;
pub(crate) mod governor;
pub(crate) mod huge;
pub(crate) mod hugeboot;
pub(crate) mod hung;
pub(crate) mod irq_aff;
pub(crate) mod irq_default;
pub(crate) mod isolcpus;
pub(crate) mod kthreads;
pub(crate) mod lockup;
pub(crate) mod nohz;
pub(crate) mod numa;
pub(crate) mod qos;
pub(crate) mod rcu;
pub(crate) mod rtthrottle;
pub(crate) mod skew;
pub(crate) mod swap;
pub(crate) mod tasks;
pub(crate) mod thp;
pub(crate) mod timermig;
pub(crate) mod vmstat;
pub(crate) mod wq;

use crate::draft::{Draft, Scope};
use crate::profile::Wanted;

/// Wishes for every attribute that is one number, word or flag, as it was written.
fn wish_as_written(scope: &Scope<'_>, wanted: &Wanted, draft: &mut Draft) {
    for name in wanted.settings.keys() {
        if let Some(text) = wanted.text(name) {
            draft.wish(scope, wanted, name, "", text);
        }
    }
}
