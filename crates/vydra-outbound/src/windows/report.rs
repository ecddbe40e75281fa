//! What a Redis says of itself, as far as it matters to what is counted there.

/// What it does not tell is empty or false.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisReport {
    /// With the name: `Redis 7.0.15`, `Valkey 8.1.1`.
    pub version: String,
    /// What it does when its memory is full: `noeviction`, or how it chooses what to throw away.
    pub eviction: String,
    /// In bytes; 0 where it takes what there is.
    pub most_memory: u64,
    /// Whether each write is kept in a file.
    pub has_append_only_file: bool,
    pub is_replica: bool,
}

impl RedisReport {
    /// Of the answer to INFO.
    pub(super) fn read(info: &str) -> Self {
        let of = |key: &str| {
            let mut pairs = info.lines().filter_map(|line| line.split_once(':'));
            pairs
                .find(|(name, _)| *name == key)
                .map_or("", |(_, value)| value.trim())
        };
        // Valkey tells an old version of Redis, for clients that look at it.
        let version = match of("valkey_version") {
            "" => format!("Redis {}", of("redis_version")),
            version => format!("Valkey {version}"),
        };
        Self {
            version,
            eviction: of("maxmemory_policy").to_owned(),
            most_memory: of("maxmemory").parse().unwrap_or(0),
            has_append_only_file: of("aof_enabled") == "1",
            is_replica: of("role") == "slave",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_tells_is_read_and_what_it_does_not_is_nothing() {
        let info = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n\r\n# Memory\r\nmaxmemory:1048576\r\n\
                    maxmemory_human:1.00M\r\nmaxmemory_policy:allkeys-lru\r\n\r\naof_enabled:1\r\nrole:slave\r\n";
        let expected = RedisReport {
            version: "Valkey 8.1.1".to_owned(),
            eviction: "allkeys-lru".to_owned(),
            most_memory: 1_048_576,
            has_append_only_file: true,
            is_replica: true,
        };
        assert_eq!(RedisReport::read(info), expected);
        let little = RedisReport::read("redis_version:7.0.15\r\nrole:master");
        let expected = RedisReport {
            version: "Redis 7.0.15".to_owned(),
            ..RedisReport::default()
        };
        assert_eq!(little, expected);
    }
}
