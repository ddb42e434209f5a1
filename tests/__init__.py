"""The tests, one directory per tier, and `support/`, what they stand on. A regular package, so that a stray `tests`
package among the installed distributions cannot take its place."""
