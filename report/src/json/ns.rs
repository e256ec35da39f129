//! Quantities of `units` in JSON: nanoseconds as whole numbers, CPUs as numbers, sets of CPUs as cpulists.
//!
//! Here and not in `units`, which knows no serializer.

use serde::{Deserialize, Deserializer, Serializer};
use units::{CpuId, CpuSet, Nanos};

pub(crate) fn serialize<S: Serializer>(value: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(value.0)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nanos, D::Error> {
    u64::deserialize(deserializer).map(Nanos)
}

/// `null` when absent.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Nanos, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Option<Nanos>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_some(&value.0),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Nanos>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Nanos))
    }
}

/// `[low, high]`, `null` when absent.
pub(crate) mod interval {
    use super::{Deserialize, Deserializer, Nanos, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<(Nanos, Nanos)>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some((low, high)) => serializer.serialize_some(&[low.0, high.0]),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<(Nanos, Nanos)>, D::Error> {
        let ends = Option::<[u64; 2]>::deserialize(deserializer)?;
        Ok(ends.map(|[low, high]| (Nanos(low), Nanos(high))))
    }
}

/// A CPU as its number.
pub(crate) mod cpu {
    use super::{CpuId, Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(cpu: &CpuId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(cpu.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CpuId, D::Error> {
        u16::deserialize(deserializer).map(CpuId)
    }

    /// `null` when absent.
    pub(crate) mod option {
        use super::{CpuId, Deserialize, Deserializer, Serializer};

        pub(crate) fn serialize<S: Serializer>(
            cpu: &Option<CpuId>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match cpu {
                Some(cpu) => serializer.serialize_some(&cpu.0),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<CpuId>, D::Error> {
            Ok(Option::<u16>::deserialize(deserializer)?.map(CpuId))
        }
    }
}

/// A set of CPUs as the kernel's cpulist.
pub(crate) mod cpus {
    use super::{CpuSet, Deserialize, Deserializer, Serializer};
    use serde::de::Error as _;

    pub(crate) fn serialize<S: Serializer>(cpus: &CpuSet, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(cpus)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CpuSet, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
