"""Renders small chat templates with transformers: the expected values of tests/template.rs.

    python templates.py > templates.json        # transformers 5.23

The cases named "qwen..." use the template of a Qwen2.5 checkpoint, whose text is not stored:
    python templates.py path/to/tokenizer_config.json > templates.json
"""

import json
import sys

from transformers.utils.chat_template_utils import render_jinja_template

TOOLS = [
    {"type": "function", "function": {
        "name": "f",
        "description": "\u00e9 \u2028 \u0001 \x7f <b> & ' \" \\ / \n\t",
        "parameters": {"type": "object", "properties": {
            "x": {"type": "number", "default": 1e-7},
            "y": {"enum": [1.0, 2, 1e16, 123456789012345678, -0.0, True, None]}}, "required": []}}}]
CALLS = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": {"x": 0.1, "s": "\u65e5\u672c"}}},
        {"type": "function", "function": {"name": "g", "arguments": {}}}]},
    {"role": "tool", "content": "r1"},
    {"role": "tool", "content": "r2"},
    {"role": "user", "content": "z"}]
MESSAGES = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": " a\n b "},
    {"role": "assistant", "content": "c"}]
TEMPLATES = {
    "ws": "{% for m in messages %}\n  {% if m.role == 'user' %}\n    U:{{ m.content | trim }}\n  {% else %}\n\tO:{{ m['content'] }}\n  {% endif %}\n{% endfor %}\n\n",
    "comment": "a\n{# c #}\nb\n  {#- d -#}\n c",
    "floats": "{{ 1.0 }} {{ 2 }} {{ 1/2 }} {{ 7//2 }} {{ 2**3 }} {{ 1e20 }} {{ true }} {{ none }} {{ [1,'a',none,true] }} {{ {'a': 1.5} }}",
    "str": "{{ 'a' ~ 1 ~ true ~ none }} {{ 'abc'[0] }} {{ 'a,b'.split(',') | join('-') }} {{ 'x' * 3 }} {{ 'AbC'.lower() }} {{ 'abc'.replace('b','z') }} {{ 'a' in 'abc' }} {{ 'x'.rstrip('x') }}|",
    "ns": "{% set ns = namespace(a='', i=0) %}{% for m in messages %}{% set ns.a = ns.a + m.role %}{% if not loop.last %}{% set ns.i = ns.i + loop.index0 %}{% endif %}{% endfor %}{{ ns.a }} {{ ns.i }}",
    "macro": "{% macro f(x, y='d') %}[{{ x }}{{ y }}]{% endmacro %}{{ f(1) }}{{ f('a', y='b') }}{{ f(x=3) }}",
    "filters": "{{ messages | length }} {{ messages | map(attribute='role') | join(',') }} {{ (messages | selectattr('role','equalto','user') | list)[0].content }} {{ messages | last | tojson }} {{ 'a' | upper }} {{ '' | default('d', true) }} {{ messages[0].keys() | list | join(' ') }} {{ messages | first }}",
    "tests": "{{ messages is iterable }} {{ messages[0] is mapping }} {{ 'x' is string }} {{ messages is sequence }} {{ x is defined }} {{ none is none }} {{ 3 is number }} {{ true is boolean }} {{ 2 is odd }}",
    "items": "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in messages[0] | dictsort %}{{ k }}{% endfor %}{{ messages[0].get('x', 'none') }}",
    "slice": "{{ messages[1:] | length }} {{ messages[-1].role }} {{ messages[:-1] | length }} {{ 'hello'[1:3] }} {{ 'hello'[::-1] }} {{ range(3) | list }}",
    "undef": "[{{ foo }}] {{ messages[0].foo }} {% if foo %}a{% else %}b{% endif %} {{ foo | default('z') }}",
    "gen": "{% for m in messages %}\n{% generation %}\n{{ m.content }}\n{% endgeneration %}\n{% endfor %}",
    "json": "{{ messages | tojson }}\n{{ messages | tojson(indent=4) }} {{ 'é<&>' | tojson }} {{ [] | tojson(indent=2) }} {{ {} | tojson(indent=2) }} {{ {'a':[],'b':{}} | tojson(indent=2) }}",
    "loop": "{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem.role if not loop.first }}{{ loop.nextitem.role if not loop.last }} {% endfor %}",
    "str2": "{{ 'a{}b'.format(1) }} {{ 'abc'.find('c') }} {{ 'a b'.title() }} {{ 'abc'.endswith('c') }} {{ 'ab'.count('a') }} {{ ' x'.lstrip() }}",
    "set": "{% set x %}abc{% endset %}{{ x | upper }}{% filter upper %}q{% endfilter %}",
    "raw": "{% raw %}{{ a }}{% endraw %}{% if 1 %}\n\n  x{% endif %}  \n y",
    "int": "{{ '3' | int + 1 }} {{ 3.7 | int }} {{ 3 | string + 'a' }} {{ [3,1,2] | sort | join(',') }} {{ [1,2] + [3] }} {{ (1, 2) }} {{ [1,2,2] | unique | list }}",
}


def render(template, messages, tools):
    return render_jinja_template([messages], tools=tools, chat_template=template, add_generation_prompt=True)[0][0]


cases = [
    {"name": name, "template": template, "messages": MESSAGES, "tools": None,
     "text": render(template, MESSAGES, None)}
    for name, template in TEMPLATES.items()
]
if len(sys.argv) > 1:
    qwen = json.load(open(sys.argv[1]))["chat_template"]
    for name, messages, tools in [("qwen calls", CALLS, TOOLS), ("qwen tools", MESSAGES, TOOLS), ("qwen", CALLS, None)]:
        cases.append({"name": name, "template": None, "messages": messages, "tools": tools,
                      "text": render(qwen, messages, tools)})
json.dump(cases, sys.stdout, indent=1)
print()
