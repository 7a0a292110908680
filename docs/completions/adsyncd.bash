# Completes adsyncd in bash 4 and newer: commands, options, their values, files, tenants and platforms.

# Print the words of $1 that begin with $word. @files is all files; __... is what a hidden command prints.
_adsyncd_matching() {
    local each
    for each in $1; do
        case $each in
            @files) compgen -f -- "$word" ;;
            __*) _adsyncd_names "$each" ;;
            *) [[ $each == "$word"* ]] && printf '%s\n' "$each" ;;
        esac
    done
}

# Print what begins with $word of what the hidden command $1 prints of the settings that the line names.
_adsyncd_names() {
    local -a of=()
    local name
    [[ -n $config ]] && of=(--config "$config")
    while IFS= read -r name; do
        [[ $name == "$word"* ]] && printf '%s\n' "$name"
    done < <("$program" "$1" "${of[@]}" 2>/dev/null)
}

# Print a word of the line without its quotes, and ~/ as the home directory.
_adsyncd_bare() {
    local text=$1
    [[ $text == "~/"* ]] && text=$HOME/${text:2}
    printf '%s\n' "${text//[\"\'\\]/}"
}

# Offer the words of $1 that begin with $word.
_adsyncd_offer() {
    mapfile -t COMPREPLY < <(_adsyncd_matching "$1")
    [[ $1 != *@files* ]] || compopt -o filenames 2>/dev/null
}

_adsyncd() {
    local IFS=$' \t\n' word=${COMP_WORDS[COMP_CWORD]} program each index
    local path="" options="" commands="" repeats="" config="" awaiting="" only_arguments="" position=0
    local -a arguments=()
    local -A values=()
    program=$(_adsyncd_bare "${COMP_WORDS[0]}")
    _adsyncd_known
    for ((index = 1; index < COMP_CWORD; index++)); do
        each=${COMP_WORDS[index]}
        if [[ -n $awaiting ]]; then
            [[ $each != = ]] || continue # bash splits --option=value at the =
            [[ $awaiting != --config && $awaiting != -c ]] || config=$(_adsyncd_bare "$each")
            awaiting=""
        elif [[ -z $only_arguments && $each == -- ]]; then
            only_arguments=1
        elif [[ -z $only_arguments && $each == -* ]]; then
            [[ $each != -c?* ]] || config=$(_adsyncd_bare "${each#-c}")
            [[ -z ${values[$each]+takes one} ]] || awaiting=$each
        elif [[ -n $commands ]]; then
            path=${path:+$path }$each options="" commands=""
            _adsyncd_known
        else
            ((position += 1))
        fi
    done
    [[ $word != = ]] || word=""
    COMPREPLY=()
    if [[ -n $awaiting ]]; then
        _adsyncd_offer "${values[$awaiting]}"
        return
    fi
    [[ -z $repeats ]] || ((position < ${#arguments[@]})) || position=$((${#arguments[@]} - 1))
    if [[ -n $only_arguments || $word != -* ]]; then
        _adsyncd_offer "$commands ${arguments[position]:-}"
    fi
    if [[ -z $only_arguments && (-n $word || ${#COMPREPLY[@]} -eq 0) && ($word == -* || -z $word) ]]; then
        _adsyncd_offer "$options"
    fi
}
@MADE@

complete -F _adsyncd adsyncd
