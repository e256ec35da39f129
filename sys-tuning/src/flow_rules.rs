//! Flows and their queues as a profile names them: `udp4 to 239.1.1.1:14310 queue 3; tcp4 from 10.0.0.1 queue 2`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use host::steering::Flow;

/// Rules that one profile may have; cards have some hundreds of places.
const RULES_MAX: usize = 256;

/// The queue of each flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlowRules(BTreeMap<Flow, u32>);

impl FlowRules {
    pub fn iter(&self) -> impl Iterator<Item = (&Flow, &u32)> {
        self.0.iter()
    }
}

impl fmt::Display for FlowRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<String> = self.0.iter().map(|(flow, queue)| format!("{flow} queue {queue}")).collect();
        f.pad(&rules.join("; "))
    }
}

impl FromStr for FlowRules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rules = BTreeMap::new();
        for rule in text.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
            let (flow, queue) = rule.rsplit_once(" queue ").ok_or_else(|| {
                format!("{rule:?} names no queue; a rule reads like \"udp4 to 239.1.1.1:14310 queue 3\"")
            })?;
            let queue = queue.parse().map_err(|_| format!("{rule:?}: {queue:?} is no queue's number"))?;
            if rules.insert(flow.parse::<Flow>()?, queue).is_some() {
                return Err(format!("{rule:?}: there is a rule for this flow already"));
            }
        }
        match rules.len() {
            0 => Err("no rule; one reads like \"udp4 to 239.1.1.1:14310 queue 3\"".to_owned()),
            count if count > RULES_MAX => Err(format!("{count} rules are more than {RULES_MAX}")),
            _ => Ok(Self(rules)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(text.parse::<FlowRules>().map_or_else(|error| error, |rules| rules.to_string()), expected);
    }

    #[test]
    fn rules_as_text() {
        check("udp4 to 239.1.1.1:14310 queue 3", "udp4 to 239.1.1.1:14310 queue 3");
        check(
            " udp4 to any:2 queue 1;tcp4 to any:2 queue 0; ",
            "tcp4 to any:2 queue 0; udp4 to any:2 queue 1",
        );
        check("", "no rule; one reads like \"udp4 to 239.1.1.1:14310 queue 3\"");
        check("udp4 to any:2 queue x", "\"udp4 to any:2 queue x\": \"x\" is no queue's number");
        check(
            "udp4 to any:2",
            "\"udp4 to any:2\" names no queue; a rule reads like \"udp4 to 239.1.1.1:14310 queue 3\"",
        );
        check(
            "udp4 to any:2 queue 1; udp4 to any:2 queue 2",
            "\"udp4 to any:2 queue 2\": there is a rule for this flow already",
        );
    }
}
