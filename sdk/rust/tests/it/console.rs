//! Lines on the console.
