ec_inc_counter "hello:world";
ec_include "included.sieve" ["first", "second"];
ec_action 250 "not ended";
