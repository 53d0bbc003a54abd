"""Completing command lines: what may come next, and the scripts by which shells ask for it.

Mirrors DefaultCompleteWithFlags and the `completion` command of github.com/urfave/cli/v3 as BuildKit v0.32.2 enables
them.

Protocol: a shell runs the command line up to the word to be completed, with `--generate-shell-completion` behind it,
the unfinished word in front of that only where it begins with a dash. The answer is a line `WORD:SENTENCE` for each
way to go on: the flags that begin so, else the subcommands.
"""

from __future__ import annotations

from pybuildkit.cmd.buildctl._app import COMPLETION_FLAG, CommandContext
from pybuildkit.golang.errors import BuildkitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class CompletionError(BuildkitError):
    """No shell is named, or one for which there is no script."""


def complete(ctx: CommandContext) -> None:
    """Print how a command line that ends with this command's arguments may go on."""
    last = _last_word(ctx)
    lines = _flags(ctx, last) if last.startswith("-") else _commands(ctx)
    ctx.stdout.write("".join(f"{line}\n" for line in lines))


def _last_word(ctx: CommandContext) -> str:
    """The word that counts as unfinished: as in Go, of several arguments of a subcommand the last but one."""
    words = ctx.args if ctx.parent is not None else ctx.root.completing or []
    last = words[-2] if len(words) > 1 else words[0] if words else ""
    return "" if last == COMPLETION_FLAG else last


def _flags(ctx: CommandContext, last: str) -> Iterator[str]:
    begun = last.lstrip("-")
    for flag in ctx.command.flags:
        name = flag.names[0]
        if flag.hidden or not name.startswith(begun) or name == begun:
            continue
        if len(name) > 1 or not last.startswith("--"):
            word = "-" * min(len(name), 2) + name
            yield f"{word}:{flag.usage}" if flag.usage else word


def _commands(ctx: CommandContext) -> Iterator[str]:
    for command in ctx.command.commands:
        if not command.hidden:
            yield f"{command.name}:{command.usage}" if command.usage else command.name


def completion(ctx: CommandContext) -> None:
    """Print the script for the shell that the argument names; raises CompletionError where there is none."""
    shells = "[" + " ".join(sorted(_SCRIPTS)) + "]"
    if not ctx.args:
        raise CompletionError(f"no shell provided for completion command. available shells are {shells}")
    script = _SCRIPTS.get(ctx.args[0])
    if script is None:
        raise CompletionError(f"unknown shell {ctx.args[0]}, available shells are {shells}")
    ctx.stdout.write(script.replace("@PROGRAM@", ctx.root.command.name).replace("@FLAG@", COMPLETION_FLAG))


_BASH = r"""# completion of @PROGRAM@ for bash; to use it: source <(@PROGRAM@ completion bash)
_@PROGRAM@_complete() {
    local word=${COMP_WORDS[COMP_CWORD]} line
    local -a asked=("${COMP_WORDS[@]:0:COMP_CWORD}") found=()
    [[ $word == -* ]] && asked+=("$word")
    while IFS= read -r line; do
        [[ -n $line ]] && found+=("${line%%:*}")
    done < <("${asked[@]}" @FLAG@ 2>/dev/null)
    COMPREPLY=($(compgen -W "${found[*]}" -- "$word"))
}
complete -o bashdefault -o default -F _@PROGRAM@_complete @PROGRAM@
"""

_FISH = r"""# completion of @PROGRAM@ for fish; to keep it:
#   @PROGRAM@ completion fish > ~/.config/fish/completions/@PROGRAM@.fish
function __@PROGRAM@_complete
    set -l asked (commandline -opc)
    set -l word (commandline -ct)
    string match -q -- '-*' $word; and set -a asked $word
    $asked @FLAG@ 2>/dev/null | string replace ':' \t
end
complete -c @PROGRAM@ -e
complete -c @PROGRAM@ -a '(__@PROGRAM@_complete)'
"""

_PWSH = r"""# completion of @PROGRAM@ for PowerShell; to use it:
#   @PROGRAM@ completion pwsh | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName @PROGRAM@ -ScriptBlock {
    param($word, $ast, $position)
    $asked = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($word -and -not $word.StartsWith('-')) { $asked = @($asked | Select-Object -SkipLast 1) }
    & @PROGRAM@ @asked '@FLAG@' 2>$null | Where-Object { $_ -like "$word*" } | ForEach-Object {
        $name, $text = $_ -split ':', 2
        if (-not $text) { $text = $name }
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $text)
    }
}
"""

_ZSH = r"""#compdef @PROGRAM@
# completion of @PROGRAM@ for zsh; to use it: source <(@PROGRAM@ completion zsh)
_@PROGRAM@() {
    local -a asked found
    asked=(${words[1,CURRENT-1]})
    [[ $words[CURRENT] == -* ]] && asked+=($words[CURRENT])
    found=("${(@f)$($asked @FLAG@ 2>/dev/null)}")
    if [[ -n $found[1] ]]; then
        _describe '@PROGRAM@' found
    else
        _files
    fi
}
if [[ $funcstack[1] == _@PROGRAM@ ]]; then
    _@PROGRAM@ "$@"
else
    compdef _@PROGRAM@ @PROGRAM@
fi
"""

_SCRIPTS = {"bash": _BASH, "fish": _FISH, "pwsh": _PWSH, "zsh": _ZSH}
