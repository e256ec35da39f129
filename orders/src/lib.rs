//! What the agent may ask of the keeper: a closed set of messages of one fixed size each.
//!
//! Types, encoding and verification, and no word about who sends them or what carries them. A message that does not
//! decode is an error with a name, never a guess.
