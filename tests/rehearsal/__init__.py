"""Tests of the rehearsals; a package, so that its modules have names of their own."""
