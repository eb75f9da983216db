#!/usr/bin/env bash
# Uploads a file to Partita in parallel parts. Run again after an interruption, it goes on where it stopped.
#
# Needs curl and jq. It prints the upload's id, which it keeps in FILE.partita until the upload is completed:
#
#   PARTITA_SERVER=http://127.0.0.1:8080 PARTITA_TOKEN=… ./upload.sh FILE
set -euo pipefail

export PARTITA_SERVER=${PARTITA_SERVER:-http://127.0.0.1:8080} PARTITA_TOKEN=${PARTITA_TOKEN:-}
export FILE=${1:?usage: upload.sh FILE} UPLOAD_ID=""
readonly PARALLEL=4 STATE=$FILE.partita
# Of a part's URL and headers; a configuration of curl.
export AS_CONFIG='"url = \"\(.url)\"", (.headers | to_entries[] | "header = \"\(.key): \(.value)\"")'

# Runs a command that prints an answer's body and, on a line of its own, its status; prints the body of a success. What
# failed for the moment is repeated: no answer (000, 100), 408, 429, 5xx, and the status that is named first, if one is.
retried() { # STATUS COMMAND...
    local answer status pause
    for pause in 0.5 1 2 4 8 ""; do
        answer=$("${@:2}") || true
        status=${answer##*$'\n'}
        case $status in
            2??) printf '%s\n' "${answer%$'\n'*}" && return ;;
            "$1" | 000 | 100 | 408 | 429 | 5??) [[ -z $pause ]] || sleep "$pause" ;;
            *) break ;;
        esac
    done
    printf '%s: %s\n' "${*:2:3}" "${answer:-no answer}" >&2
    # By which xargs begins no further part.
    return 255
}

# The answer's JSON. Each call is safe to repeat; the one that creates by its Idempotency-Key.
call() { # METHOD PATH [CURL'S OPTION...]
    retried "" request "$@"
}

request() { # METHOD PATH [CURL'S OPTION...]
    # Tokens and URLs of parts come to curl by a pipe, for arguments are seen by everybody on the machine.
    curl --config <(printf '%s\n' "${PARTITA_TOKEN:+header = \"Authorization: Bearer $PARTITA_TOKEN\"}") \
        --silent --show-error --max-time 60 --write-out '\n%{http_code}' --header "Content-Type: application/json" \
        --request "$1" "${@:3}" "$PARTITA_SERVER/v1/uploads$2"
}

# Each attempt has a URL of its own: the last one may have expired, which S3 answers by 403.
send_part() { # PART_NUMBER
    retried 403 put_part "$1" && printf 'sent part %s\n' "$1" >&2
}

put_part() { # PART_NUMBER
    local part offset size
    part=$(call POST "/$UPLOAD_ID/part-urls" --data "{\"parts\": \"$1\"}" | jq '.partUrls[0]') || return
    read -r offset size < <(jq -r '"\(.offset) \(.size)"' <<<"$part")
    # From a pipe, so that the part need not be in memory; curl would send it in chunks then, which S3 does not take.
    tail -c "+$((offset + 1))" "$FILE" | head -c "$size" |
        curl --config <(jq -r "$AS_CONFIG" <<<"$part") \
            --silent --show-error --connect-timeout 10 --speed-limit 1 --speed-time 60 --write-out '\n%{http_code}' \
            --header "Content-Length: $size" --header "Transfer-Encoding:" --upload-file -
}

size=$(wc -c <"$FILE")
identity="$((size)) bytes of $(date -r "$FILE" "+%F %T")"
if [[ -e $STATE ]]; then
    { read -r UPLOAD_ID && read -r known; } <"$STATE"
    if [[ $known != "$identity" ]]; then
        echo "$FILE is a different file than when its upload began ($known): remove $STATE to begin another" >&2
        exit 1
    fi
else
    wanted=$(jq -n --arg filename "$(basename "$FILE")" --argjson size "$size" '{$filename, $size, partUrls: {count: 0}}')
    key=$(od -An -N 16 -t x1 /dev/urandom | tr -d " ")
    UPLOAD_ID=$(call POST "" --header "Idempotency-Key: $key" --data "$wanted" | jq -r .upload.id)
    printf '%s\n' "$UPLOAD_ID" "$identity" >"$STATE.new" && mv "$STATE.new" "$STATE"
fi

state=$(call GET "/$UPLOAD_ID" | jq -r .state)
if [[ $state == open ]]; then
    # What an earlier run has sent is at S3, which is asked for it. The answer's ranges are such as "3-5,8".
    missing=$(call POST "/$UPLOAD_ID/sync" |
        jq '.missingParts | split(",")[] | split("-") | map(tonumber) | range(.[0]; .[-1] + 1)')
    export -f retried call request send_part put_part
    # shellcheck disable=SC2016  # It is the inner shell that expands it.
    [[ -z $missing ]] || xargs -n 1 -P "$PARALLEL" bash -euo pipefail -c 'send_part "$1"' send_part <<<"$missing"
fi
until [[ $state == completed ]]; do
    state=$(call POST "/$UPLOAD_ID/complete" | jq -r .state)
    [[ $state == completed ]] || sleep 1
done
rm "$STATE"
echo "$UPLOAD_ID"
