/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mux of docs/protocol.md for Spin: two ends, two streams with data both ways, two-level credit, half-close, RESET,
 * PING, a key switch in each direction, and a connection that holds only CAP records. Checked: no deadlock, whatever the
 * order of events; no end ever gets more than it gave credit for; nothing is lost or comes after its FIN; every record
 * is read with the key that it was sealed with; an application that does not read stream 1 does not hold up stream 0.
 * Not modelled: sizes, growth of windows, time.
 *
 * Run: docs/formal/run-spin, which takes the parts RESETS, PINGS and SWITCHES by turns (all at once are tens of millions
 * of states). Each of these defines breaks one rule, and must make Spin find an error:
 *   -DGATED           an end does not read while it owes an answer (PONG)
 *   -DCREDIT_ON_READ  connection credit comes back only when the application reads
 *   -DNO_REFUND       data for a stream that was reset gives no connection credit back
 *   -DSWITCH_AT_WILL  the receiver switches keys when it likes instead of at KEY_SWITCH
 *   -DOVERDRAW        a sender ignores the connection's window
 *   -DEARLY_FIN       FIN overtakes data that waits for credit
 */
#ifndef CAP
#define CAP 2 /* records that the connection holds in each direction */
#endif
/* Records of data: on stream 0 two towards end 1 and one back; on stream 1 two towards end 1, which does not read it
   until stream 0 is through. Its window is as large as the connection's: unread, it could use all of that up. */
#define TOTAL(end, stream) (((end) == 0) -> 2 : ((stream) == 0 -> 1 : 0))
#define WINDOW(stream) ((stream) + 1)
#define CONNECTION 2
#define STREAMS 2

mtype = { DATA, FIN, RESET, MAX_STREAM, MAX_CONNECTION, PING, PONG, KEY_SWITCH };

/* type, stream, value, epoch of the key */
chan wire0 = [CAP] of { mtype, bit, byte, bit };
chan wire1 = [CAP] of { mtype, bit, byte, bit };

bit finished[2];

proctype end_of_tunnel(bit me; chan tx; chan rx)
{
    xs tx;
    xr rx;
    /* sending */
    byte sent[STREAMS], limit[STREAMS];
    bit fin_sent[STREAMS];
    byte all_sent, all_limit = CONNECTION;
    /* receiving */
    byte got[STREAMS], taken[STREAMS], granted[STREAMS];
    bit fin_got[STREAMS], gone[STREAMS], owe[STREAMS];
    byte all_got, all_taken, all_granted = CONNECTION, all_told = CONNECTION;
    bit owe_all, owe_pong, pinged, answered, may_reset = 1;
    bit key_out, key_in;
    /* what was just received */
    mtype kind;
    bit s, key;
    byte value;

    limit[0] = WINDOW(0); limit[1] = WINDOW(1);
    granted[0] = WINDOW(0); granted[1] = WINDOW(1);

#ifdef OVERDRAW
#define CREDIT(x) (sent[x] < limit[x])
#else
#define CREDIT(x) (sent[x] < limit[x] && all_sent < all_limit)
#endif
    do
    /* ---- sending: only what there is room and credit for ---- */
    :: atomic { nfull(tx) && !gone[0] && sent[0] < TOTAL(me, 0) && CREDIT(0) -> tx!DATA, 0, sent[0], key_out; sent[0]++; all_sent++ }
    :: atomic { nfull(tx) && !gone[1] && sent[1] < TOTAL(me, 1) && CREDIT(1) -> tx!DATA, 1, sent[1], key_out; sent[1]++; all_sent++ }
#ifdef EARLY_FIN
    :: atomic { nfull(tx) && !gone[0] && !fin_sent[0] -> tx!FIN, 0, TOTAL(me, 0), key_out; fin_sent[0] = 1 }
#else
    :: atomic { nfull(tx) && !gone[0] && sent[0] == TOTAL(me, 0) && !fin_sent[0] -> tx!FIN, 0, TOTAL(me, 0), key_out; fin_sent[0] = 1 }
#endif
    :: atomic { nfull(tx) && !gone[1] && sent[1] == TOTAL(me, 1) && !fin_sent[1] -> tx!FIN, 1, TOTAL(me, 1), key_out; fin_sent[1] = 1 }
#ifdef RESETS
    /* the application of end 1 may give stream 1 up at any time: data for it is still on its way */
    :: atomic { nfull(tx) && me == 1 && may_reset && !gone[1] && !(fin_sent[1] && fin_got[1]) ->
                tx!RESET, 1, 0, key_out; gone[1] = 1; owe[1] = 0; may_reset = 0 }
#endif
    :: atomic { nfull(tx) && owe[0] -> tx!MAX_STREAM, 0, granted[0], key_out; owe[0] = 0 }
    :: atomic { nfull(tx) && owe[1] -> tx!MAX_STREAM, 1, granted[1], key_out; owe[1] = 0 }
    :: atomic { nfull(tx) && owe_all -> tx!MAX_CONNECTION, 0, all_granted, key_out; owe_all = 0; all_told = all_granted }
#ifdef PINGS
    :: atomic { nfull(tx) && !pinged -> tx!PING, 0, 0, key_out; pinged = 1 }
    :: atomic { nfull(tx) && owe_pong -> tx!PONG, 0, 0, key_out; owe_pong = 0 }
#endif
#ifdef SWITCHES
    :: atomic { nfull(tx) && key_out == 0 -> tx!KEY_SWITCH, 0, 0, 0; key_out = 1 }
#endif

    /* ---- the applications read; that of stream 1 only when stream 0 is through ---- */
    :: atomic { taken[0] < got[0] ->
                taken[0]++; all_taken++;
                if :: !fin_got[0] -> granted[0] = taken[0] + WINDOW(0); owe[0] = 1 :: else fi;
#ifdef CREDIT_ON_READ
                all_granted = all_taken + CONNECTION; owe_all = 1
#endif
              }
    :: atomic { !gone[1] && taken[1] < got[1] && fin_got[0] && taken[0] == got[0] ->
                taken[1]++; all_taken++;
                if :: !fin_got[1] -> granted[1] = taken[1] + WINDOW(1); owe[1] = 1 :: else fi;
#ifdef CREDIT_ON_READ
                all_granted = all_taken + CONNECTION; owe_all = 1
#endif
              }

    /* ---- receiving: always ready ---- */
#ifdef SWITCH_AT_WILL
    :: key_in == 0 -> key_in = 1
#endif
#ifdef GATED
    :: atomic { nempty(rx) && !owe_pong && !owe_all -> rx?kind, s, value, key;
#else
    :: atomic { rx?kind, s, value, key ->
#endif
        assert(key == key_in);
        if
        :: kind == DATA ->
            assert(all_got < all_told); /* what the other end was told, not what it will be */
            all_got++;
            if
            :: gone[s] ->
                all_taken++;
#ifndef NO_REFUND
                all_granted = all_got + CONNECTION; owe_all = 1
#endif
            :: else ->
                assert(got[s] < granted[s] && !fin_got[s] && value == got[s]);
                got[s]++;
#ifndef CREDIT_ON_READ
                all_granted = all_got + CONNECTION; owe_all = 1
#endif
            fi
        :: kind == FIN ->
            if
            :: gone[s]
            :: else -> assert(!fin_got[s] && value == got[s]); fin_got[s] = 1; owe[s] = 0
            fi
        :: kind == RESET -> gone[s] = 1; owe[s] = 0
        :: kind == MAX_STREAM -> if :: value > limit[s] -> limit[s] = value :: else fi
        :: kind == MAX_CONNECTION -> if :: value > all_limit -> all_limit = value :: else fi
        :: kind == PING -> owe_pong = 1
        :: kind == PONG -> assert(pinged && !answered); answered = 1
        :: kind == KEY_SWITCH -> assert(key_in == 0
#ifdef SWITCH_AT_WILL
                                        || true
#endif
                                       ); key_in = 1
        fi;
        kind = 0; s = 0; value = 0; key = 0 }

    /* ---- done: everything that was promised has happened, and nothing more is owed ---- */
    :: atomic { fin_sent[0] && fin_got[0] && taken[0] == TOTAL(1 - me, 0) && sent[0] == TOTAL(me, 0) &&
                (gone[1] || (fin_sent[1] && fin_got[1] && taken[1] == TOTAL(1 - me, 1))) &&
#ifdef PINGS
                answered && !owe_pong &&
#endif
#ifdef SWITCHES
                key_out && key_in &&
#endif
                !owe_all && !owe[0] && !owe[1] && !finished[me] ->
                finished[me] = 1 }
    :: finished[0] && finished[1] -> break
    od
}

init { atomic { run end_of_tunnel(0, wire0, wire1); run end_of_tunnel(1, wire1, wire0) } }
