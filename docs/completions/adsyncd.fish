# Completes adsyncd in fish 3 and newer: commands, options, their values, files, tenants and platforms.

# Print the command in the line, and the number of the argument at the cursor.
function __adsyncd_place
    set -l path ''
    set -l number 1
    set -l awaiting ''
    set -l only_arguments ''
    set -l groups (__adsyncd_groups)
    set -l valued
    set -l words (commandline -opc)
    set -e words[1]
    for each in $words
        if test -n "$awaiting"
            set awaiting ''
        else if test -z "$only_arguments"; and test "$each" = --
            set only_arguments 1
        else if test -z "$only_arguments"; and string match -q -- '-*' "$each"
            contains -- "$each" $valued; and set awaiting 1
        else if contains -- "$path" $groups
            set path (string trim -- "$path $each")
            set valued (__adsyncd_valued $path)
        else
            set number (math $number + 1)
        end
    end
    printf '%s\n' "$path" $number
end

# Whether the line is at this command, and if a number is given, at this argument of it or, with "more", after that.
function __adsyncd_at
    set -l place (__adsyncd_place)
    test "$place[1]" = "$argv[1]"; or return 1
    switch (count $argv)
        case 1
            return 0
        case 2
            test $place[2] -eq $argv[2]
        case 3
            test $place[2] -ge $argv[2]
    end
end

# Print what a hidden command prints of the settings that the line names.
function __adsyncd_names
    set -l words (commandline -opc)
    set -l config ''
    for index in (seq 2 (count $words))
        switch "$words[$index]"
            case --config -c
                set -l next (math $index + 1)
                set config $words[$next]
            case '--config=*'
                set config (string replace -- --config= '' "$words[$index]")
            case '-c*'
                set config (string replace -- -c '' "$words[$index]")
        end
    end
    set -l of
    test -n "$config"; and set of --config (string replace -r '^~/' "$HOME/" -- "$config")
    set -l program (string replace -r '^~/' "$HOME/" -- "$words[1]")
    $program $argv[1] $of 2>/dev/null
end

complete -c adsyncd -f
@MADE@
