vctx_conn_set "c" "1";
vctx_mess_set "m" "2";
vctx_conn_set "both" "connection";
vctx_mess_set "both" "message";
ec_action 250 "%{vctx_conn:c}%{vctx_mess:m} %{both} %{spfv1:i} <%{vctx_conn:none}${none}>";
