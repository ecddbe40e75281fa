//! The client against servers that answer as they are told.

#[cfg(test)]
mod cases;
#[cfg(test)]
mod config;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod files;
#[cfg(test)]
mod support;
#[cfg(test)]
mod units;
