if ec_test :is "%{mailfrom_domain}" "sieve.example" { ec_include "%{mailfrom_localpart}.sieve"; }
