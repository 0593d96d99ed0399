//! Behaviour of the exporters against small servers that misbehave on purpose.
